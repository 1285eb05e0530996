"""The second layer in the real Collector: the processors of otel-collector.yaml, behind a service that redacts nothing."""

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
from tests.security.unredacted_otlp import everything
from tests.telemetry.test_redaction import GOES, STAYS
from three_pillar_demo.stack.binaries import OTELCOL
from three_pillars import redaction

WITHOUT_CHECK_DIGITS = {"DE89370400440532013001", "4111111111111112", "order-5555555555554445"}
"""What the Collector takes for a card or an account, because it does not calculate; as ``order.id`` it stays."""
IN_WORDS = re.compile(r"card\d|\xa0|^\[\(b|3056|de89")
"""What only the first layer finds: glued to a word, with unusual spaces, in small letters, of a network that is rare."""
SAID = (
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
"""Secrets of ``GOES``, of which nothing may be left either."""
CONFIG = Path(__file__).parents[2] / "otel-collector.yaml"


def pipelines() -> dict[str, Any]:
    """The pipelines of the file, and the processors that they name."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    return config


def test_every_pipeline_redacts_after_the_limiter() -> None:
    """Traces, logs and metrics all pass the redaction, behind the memory limiter; span texts are copied to attributes for it and restored."""
    chains = {
        name: each["processors"] for name, each in pipelines()["service"]["pipelines"].items()
    }
    assert chains == {
        "traces": ["memory_limiter", "transform/copy_texts", "redaction", "transform/restore_texts"],
        "logs": ["memory_limiter", "redaction"],
        "metrics": ["memory_limiter", "redaction"],
    }


def test_both_layers_take_the_same_names_for_a_secret() -> None:
    """What a field is called, and what a text says before its secret: the same list, here and there."""
    rules, names = pipelines()["processors"]["redaction"], redaction.NAMES.replace("(?:", "(")
    assert rules["blocked_key_patterns"] == [f"(?i)({names})$$"]
    assert [
        each for each in rules["blocked_values"] if each.startswith(f"(?i)({names})(")
    ] == rules["blocked_values"][-1:]


@contextmanager
def real_collector(folder: Path, collector: InMemoryCollector) -> Iterator[str]:
    """The Collector with the file's processors, its receiver on a port of its own, and ``collector`` for all its backends."""
    config, port = pipelines(), free_port()
    config["receivers"]["otlp"]["protocols"] = {"http": {"endpoint": f"127.0.0.1:{port}"}}
    config["exporters"] = {"otlp_http": {"endpoint": collector.url, "compression": "none"}}
    del config["extensions"], config["service"]["extensions"]
    config["service"]["telemetry"] = {"metrics": {"level": "none"}}
    for each in config["service"]["pipelines"].values():
        each["exporters"] = ["otlp_http"]
    (folder / "collector.yaml").write_text(yaml.safe_dump(config))
    binary = executable(OTELCOL)
    with (folder / "collector.log").open("wb") as out:
        process = subprocess.Popen(
            [binary, f"--config={folder}/collector.yaml"], env=os.environ, stdout=out, stderr=out
        )
    try:
        wait_for(
            "the Collector",
            lambda: (
                process.poll() is not None or b"ready" in (folder / "collector.log").read_bytes()
            ),
            60,
        )
        assert process.poll() is None, (folder / "collector.log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.full
@pytest.mark.timeout(3600)  # the build
def test_the_collector_finds_what_nobody_redacted(collector: InMemoryCollector, tmp_path: Path) -> None:
    """Through all three pipelines no canary passes; what is clean does, and what the first layer left is not touched again."""
    canaries = Canaries()
    words = [*canaries.shown.values(), *(each for each in GOES if not IN_WORDS.search(each))]
    kept = {name: each for name, each in canaries.clean.items() if name != "order"}
    clean = [
        *kept.values(),
        *(each for each in STAYS if each not in WITHOUT_CHECK_DIGITS),
        *GOES.values(),
    ]
    with real_collector(tmp_path, collector) as url, httpx2.Client(timeout=30, trust_env=False) as http:
        for count, texts in ((3, words), (6, clean)):
            for path, told in everything(canaries, texts).items():
                assert http.post(url + path, json=told).is_success
            wait_for("all three signals", lambda count=count: len(collector.received) >= count, 60)  # type: ignore[misc]
    dirty, pure = (str([message for _, message in collector.received[at : at + 3]]) for at in (0, 3))
    assert canaries.found(dirty) == set()
    assert [each for each in words if each in dirty] == []
    assert [each for each in SAID if each in dirty] == []
    assert "copied." not in dirty + pure
    assert "****" not in pure
    assert canaries.clean["order"] in dirty
    assert canaries.clean["order"] in pure
