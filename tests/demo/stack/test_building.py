"""The launcher builds what is nowhere, while the rest runs; here with a Go that only pretends."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stubs.running import Stack

NO_NETWORK = "go: example.com/tool@v1.2.3: dial tcp: lookup proxy.example.com: no such host"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A component that is at hand, and one whose binary has to be built and waits for the file "built"."""
    shop, traces = {"name": "shop", "exit": 1}, {"name": "traces", "binary": "prometheus"}
    with Stack(tmp_path, shop, traces, FAKE_GO_WAITS_FOR=str(tmp_path / "built")) as stack:
        yield stack


def test_who_is_at_hand_does_not_wait_for_a_build(stack: Stack) -> None:
    """One component is ready while the binary of another is being built; that one follows."""
    stack.up(ready=False)
    stack.until(
        lambda: "shop            ready" in stack.out and "compiling" in stack.out,
        "one to be ready, one to be compiled",
    )
    assert stack.diary() == ["shop started"]
    (stack.folder / "built").touch()
    stack.until(lambda: "Ctrl-C stops" in stack.out, "everything to be ready")
    steps = [
        line.split(maxsplit=1)[1] for line in stack.out.splitlines() if line.startswith("traces ")
    ]
    assert steps[:5] == [
        "building",
        "building: fetching its modules",
        "building: compiling (1 packages)",
        "built",
        "starting",
    ]
    assert steps[5].startswith("ready after")


@pytest.mark.parametrize("why", ["SIGTERM", "a death"])
def test_a_build_is_stopped_with_the_rest(stack: Stack, why: str) -> None:
    """Who stops during a build leaves no compiler and nothing half built."""
    stack.up(ready=False)
    stack.until(lambda: "compiling" in stack.out and stack.diary("started"), "the build")
    stack.signal(signal.SIGTERM) if why == "SIGTERM" else stack.let("die")
    assert stack.end(why) == (0 if why == "SIGTERM" else 1)
    assert stack.left() == []
    assert list(stack.cache.iterdir()) == []


def test_a_build_that_fails_stops_all(stack: Stack) -> None:
    """One message names the component, the reason and the log; what runs is stopped."""
    stack.env |= {"FAKE_GO_FAILS": NO_NETWORK, "FAKE_GO_WAITS_FOR": str(stack.diary_file)}
    failed = stack.demo("up")
    assert failed.returncode == 1
    reason = (
        f"stubtool could not be built: {NO_NETWORK}\n  the whole log: {stack.log('build-traces')}\n"
    )
    assert failed.stderr == f"demo up: {reason}"
    assert stack.diary("gone") == ["shop gone"]
    assert stack.left() == []


def test_whatever_goes_wrong_is_told(tmp_path: Path) -> None:
    """The launcher never waits for a binary that nobody looks for any more."""
    with Stack(tmp_path, {"name": "traces", "binary": "nowhere"}) as stack:
        failed = stack.demo("up")
    assert failed.returncode == 1
    assert failed.stderr.startswith("demo up: traces: FileNotFoundError: ")
    assert "native/nowhere" in failed.stderr
