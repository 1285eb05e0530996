"""The command ``demo rehearse``: its list, and the stacks on which it does not run."""

from pathlib import Path
from typing import Any

from tests.stubs.running import Stack

SHOP: dict[str, Any] = {"name": "shop", "stop_order": 1}
TRACES: dict[str, Any] = {"name": "traces", "stop_order": 2}


def test_without_a_name_rehearsals_are_listed(tmp_path: Path) -> None:
    """Without a name, ``demo rehearse`` lists the rehearsals and starts no stack."""
    with Stack(tmp_path, SHOP) as stack:
        done = stack.demo("rehearse")
        assert (done.returncode, done.stderr) == (0, "")
        assert "receiver-killed" in done.stdout
        assert not stack.state.exists()


def test_an_incomplete_stack_is_refused(tmp_path: Path) -> None:
    """A stack that is starting, or of which a component was stopped, is refused with an error."""
    with Stack(tmp_path, SHOP, TRACES | {"not_ready_body": "warming up"}) as stack:
        stack.up(ready=False)
        stack.wait_until(lambda: len(stack.events("started")) == 2, "both to be started")
        early = stack.demo("rehearse", "receiver-killed")
        assert (early.returncode, early.stdout) == (1, "")
        assert "the stack is still starting" in early.stderr
        stack.set_flag("ready")
        stack.wait_until(lambda: stack.is_ready, "all to be ready")
        stack.demo("stop", "traces")
        refused = stack.demo("rehearse", "receiver-killed")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "stopped on purpose: traces; run `demo start NAME` first" in refused.stderr
        assert not stack.has_ended
