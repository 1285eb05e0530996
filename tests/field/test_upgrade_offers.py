"""Every server of the project reads the body of a request that offers an upgrade to HTTP/2.

Java's HttpClient and ``curl --http2`` offer it in their first request (Kludex/uvicorn#2722).
"""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import httpx2
import pytest

from tests.demo.local_store.messages import log_record, log_request, to_otlp_json
from tests.demo.local_store.stores import StoreProcess, read_rows
from tests.private_ports import free_port
from tests.processes import Service, running_shop, wait_for

OFFER = (
    b"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
)
NO_EXPORT = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
FRAMINGS = ("length", "chunks")
DECLINED = json.dumps({"card": "declined"}).encode()
CHARGE = json.dumps(
    {"order_id": "1", "amount": "12.00", "currency": "EUR", "card": "declined"}
).encode()
CURL = shutil.which("curl") or ""
TIMEOUT_S = 60


def framed(body: bytes, framing: str) -> bytes:
    """Return the end of a request: the header that gives the framing, and ``body``."""
    if framing == "length":
        return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    return b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def post_with_offer(url: str, body: bytes, framing: str) -> tuple[int, bytes]:
    """Send ``body`` with the offer of an upgrade; return the status and the body of the answer."""
    address = httpx2.URL(url)
    with socket.create_connection((address.host, address.port or 80), TIMEOUT_S) as connection:
        host = f"{address.host}:{address.port}".encode()
        connection.sendall(OFFER % (address.path.encode(), host) + framed(body, framing))
        response = HTTPResponse(connection, method="POST")
        response.begin()
        return response.status, response.read()


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Service]]:
    """Checkout and payment."""
    folder = tmp_path_factory.mktemp("services")
    with running_shop(folder, "http://127.0.0.1:9", **NO_EXPORT) as (checkout, payment):
        yield checkout, payment


@pytest.mark.parametrize("framing", FRAMINGS)
def test_checkout_reads_the_body(services: tuple[Service, Service], framing: str) -> None:
    """A declined card is declined; without its body, the default basket would be sold."""
    checkout, _ = services
    status, answer = post_with_offer(f"{checkout.url}/checkout", DECLINED, framing)
    assert (status, json.loads(answer)["detail"]) == (402, "Card declined")


@pytest.mark.parametrize("framing", FRAMINGS)
def test_payment_reads_the_body(services: tuple[Service, Service], framing: str) -> None:
    """A charge is answered as without the offer; without its body, it would be invalid."""
    _, payment = services
    status, answer = post_with_offer(f"{payment.url}/charges", CHARGE, framing)
    assert (status, b"declined" in answer) == (200, True)


@pytest.mark.skipif(not CURL, reason="curl is not installed")
def test_checkout_reads_the_body_of_curl(services: tuple[Service, Service]) -> None:
    """``curl --http2`` gets the answer that belongs to its body, also for a body of 2 MB."""
    if (
        "HTTP2"
        not in subprocess.run([CURL, "-V"], capture_output=True, text=True, check=True).stdout
    ):
        pytest.skip("this curl has no HTTP/2")
    checkout, _ = services
    command = [
        CURL,
        "-sS",
        "--http2",
        "-w",
        "\n%{http_code}",
        "-H",
        "content-type: application/json",
    ]
    for body, expected in ((DECLINED, "402"), (b" " * 2_000_000, "413")):
        result = subprocess.run(
            [*command, "--data-binary", "@-", f"{checkout.url}/checkout"],
            input=body,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=True,
        )
        assert result.stdout.decode().rpartition("\n")[2] == expected


@pytest.mark.parametrize("framing", FRAMINGS)
def test_the_local_store_keeps_the_body(tmp_path: Path, framing: str) -> None:
    """What the store acknowledges is in its file; without the body, it would keep nothing."""
    store = StoreProcess(tmp_path / "data")
    store.start()
    try:
        body = to_otlp_json(log_request(log_record("kept")))
        assert post_with_offer(f"{store.url}/v1/logs", body, framing) == (200, b"{}")
    finally:
        store.stop()
    assert read_rows(store.path, "SELECT body FROM lines") == [("kept",)]


@pytest.mark.parametrize("framing", FRAMINGS)
def test_the_page_reads_the_body(tmp_path: Path, framing: str) -> None:
    """A notification of Alertmanager is accepted; without its body, it would be invalid."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (tmp_path / "page.log").open("wb") as output:
        page = subprocess.Popen(
            [sys.executable, "-m", "three_pillar_demo.web"],
            env={"WEB_PORT": str(port), "PATH": ""},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for("the page", lambda: is_listening(port))
        status, _ = post_with_offer(f"{url}/alerts", b'{"alerts": []}', framing)
        assert status == 204
    finally:
        page.terminate()
        page.wait(TIMEOUT_S)


def is_listening(port: int) -> bool:
    """Return whether the port accepts connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
