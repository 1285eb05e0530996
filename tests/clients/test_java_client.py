"""The HTTP client of the JDK, which offers an upgrade to HTTP/2, posts to the local store."""

import json
import subprocess

from tests.clients import installation
from tests.clients.programs import inherited_environment
from tests.clients.shops import JAVA
from tests.clients.store import ClientStore
from tests.clients.test_page import log_request

TIMEOUT_S = 120


def test_a_post_that_offers_an_upgrade_is_stored(client_store: ClientStore) -> None:
    """The body of a POST with ``Upgrade: h2c`` is stored, and not only acknowledged."""
    folder = installation.installed(JAVA.name, JAVA.source, JAVA.install)
    completed = subprocess.run(
        ["/usr/bin/env", "java", "-cp", str(folder), "Post", f"{client_store.http}/v1/logs"],
        input=json.dumps(log_request("posted by the JDK")),
        env=inherited_environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert completed.stdout.strip() == "200", completed.stdout + completed.stderr
    client_store.wait_until(
        "the log record",
        lambda: [record.body for record in client_store.logs("beacon")] == ["posted by the JDK"],
    )
