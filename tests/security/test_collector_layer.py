"""The second layer of redaction: the processors in otel-collector.yaml, in a real Collector."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tests.binaries import executable
from tests.processes import InMemoryCollector, free_port, wait_for
from tests.security.canaries import Canaries
from tests.security.unredacted_otlp import otlp_requests
from tests.telemetry.test_redaction import KEPT, REDACTED
from three_pillar_demo.stack.binaries import OTELCOL
from three_pillars.redaction.rules import SECRET_NAMES

INVALID_NUMBERS = {"DE89370400440532013001", "4111111111111112", "order-5555555555554445"}
"""Card numbers and IBANs with wrong check digits: the Collector, which cannot verify them,
redacts them everywhere except in the attribute ``order.id``."""
FIRST_LAYER_ONLY = re.compile(r"card\d|\xa0|^\[\(b|3056|de89")
"""Matches texts that only the services redact (the first layer): a number right after a word,
with unusual spaces, in lower case, or of a rare card network; and headers as a repr of bytes."""
SECRET_PARTS = (
    "hunter2",
    "9944b0",
    "MIIE",
    "wJalr",
    "k1 k2",
    "horse",
    "hun ter",
    "dXNlcj",
    "abc.def",
    "eyJhb",
    "xyz",
)
"""Parts of the secrets in ``REDACTED`` (tests/telemetry/test_redaction.py); none of them may be
left."""
CONFIG = Path(__file__).parents[2] / "otel-collector.yaml"
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
SIGNALS = 3


def collector_config() -> dict[str, Any]:
    """Return the parsed content of otel-collector.yaml."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    return config


def test_every_pipeline_redacts_after_the_limiter() -> None:
    """Each pipeline redacts after the memory limiter; traces first copy texts into attributes."""
    processors = {
        name: pipeline["processors"]
        for name, pipeline in collector_config()["service"]["pipelines"].items()
    }
    assert processors == {
        "traces": [
            "memory_limiter",
            "transform/copy_texts",
            "redaction",
            "transform/restore_texts",
        ],
        "logs": ["memory_limiter", "redaction"],
        "metrics": ["memory_limiter", "redaction"],
    }


def test_both_layers_have_the_same_names_of_secrets() -> None:
    """The names of secret fields are the same in the Collector and in the library."""
    rules = collector_config()["processors"]["redaction"]
    names = SECRET_NAMES.replace("(?:", "(")
    assert rules["blocked_key_patterns"] == [f"(?i)({names})$$"]
    with_names = [
        pattern for pattern in rules["blocked_values"] if pattern.startswith(f"(?i)({names})(")
    ]
    assert with_names == rules["blocked_values"][-1:]


@contextmanager
def run_real_collector(folder: Path, backend: InMemoryCollector) -> Iterator[str]:
    """Run the Collector until the end of the block; yield the URL of its OTLP receiver.

    It has the processors of otel-collector.yaml and exports all three signals to ``backend``.
    """
    port = free_port()
    config = collector_config()
    config["receivers"]["otlp"]["protocols"] = {"http": {"endpoint": f"127.0.0.1:{port}"}}
    config["exporters"] = {"otlp_http": {"endpoint": backend.url, "compression": "none"}}
    del config["extensions"], config["service"]["extensions"]
    config["service"]["telemetry"] = {"metrics": {"level": "none"}}
    for pipeline in config["service"]["pipelines"].values():
        pipeline["exporters"] = ["otlp_http"]
    config_file = folder / "collector.yaml"
    config_file.write_text(yaml.safe_dump(config))
    log_file = folder / "collector.log"
    command = [str(executable(OTELCOL)), f"--config={config_file}"]
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, env=os.environ, stdout=log, stderr=log)

    def started_or_ended() -> bool:
        return process.poll() is not None or b"ready" in log_file.read_bytes()

    try:
        wait_for("the Collector", started_or_ended, START_TIMEOUT_S)
        assert process.poll() is None, log_file.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)


def forwarded(url: str, backend: InMemoryCollector, canaries: Canaries, texts: list[str]) -> str:
    """Send ``texts`` to the Collector in all three signals; return all that it forwards as text."""
    count_before = len(backend.received)
    with httpx2.Client(timeout=30, trust_env=False) as http:
        for path, request in otlp_requests(canaries, texts).items():
            assert http.post(url + path, json=request).is_success
    wait_for("all three signals", lambda: len(backend.received) >= count_before + SIGNALS)
    return str([message for _, message in backend.received[count_before:]])


@pytest.mark.full
@pytest.mark.timeout(3600)  # the build of the Collector
def test_collector_redacts_what_a_service_did_not(
    collector: InMemoryCollector, tmp_path: Path
) -> None:
    """No fake secret passes the Collector in any signal, and clean texts pass unchanged."""
    canaries = Canaries()
    secret_texts = [
        *canaries.shown.values(),
        *(text for text in REDACTED if not FIRST_LAYER_ONLY.search(text)),
    ]
    clean_texts = [
        *(value for name, value in canaries.clean.items() if name != "order"),
        *(text for text in KEPT if text not in INVALID_NUMBERS),
        *REDACTED.values(),
    ]
    with run_real_collector(tmp_path, collector) as url:
        redacted = forwarded(url, collector, canaries, secret_texts)
        unchanged = forwarded(url, collector, canaries, clean_texts)
    assert canaries.found(redacted) == set()
    assert [text for text in secret_texts if text in redacted] == []
    assert [part for part in SECRET_PARTS if part in redacted] == []
    assert "copied." not in redacted + unchanged
    assert "****" not in unchanged
    assert canaries.clean["order"] in redacted
    assert canaries.clean["order"] in unchanged
