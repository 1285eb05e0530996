"""The second layer of redaction: the processors in otel-collector.yaml, in a real Collector."""

import re
from pathlib import Path

import httpx2
import pytest

from tests.processes import InMemoryCollector, wait_for
from tests.real_collector import collector_config, run_real_collector
from tests.security.canaries import Canaries
from tests.security.unredacted_otlp import otlp_requests
from tests.telemetry.test_redaction import KEPT, REDACTED
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
SIGNALS = 3


def test_every_pipeline_redacts_after_the_limiter() -> None:
    """Each pipeline redacts after the memory limiter and before texts are cut to the limits."""
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
            "transform/trace_limits",
        ],
        "logs": ["memory_limiter", "redaction", "transform/log_limits"],
        "metrics": [
            "memory_limiter",
            "redaction",
            "filter/empty_metrics",
            "transform/metric_limits",
            "delta_to_cumulative",
        ],
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
    with run_real_collector(tmp_path, collector.url) as real_collector:
        redacted = forwarded(real_collector.url, collector, canaries, secret_texts)
        unchanged = forwarded(real_collector.url, collector, canaries, clean_texts)
    assert canaries.found(redacted) == set()
    assert [text for text in secret_texts if text in redacted] == []
    assert [part for part in SECRET_PARTS if part in redacted] == []
    assert "copied." not in redacted + unchanged
    assert "****" not in unchanged
    assert canaries.clean["order"] in redacted
    assert canaries.clean["order"] in unchanged
