"""The fixture of the tests of drills on a running stack."""

from collections.abc import Iterator

import pytest

from tests.demo.drills.live_stack import fault_files, session
from tests.end_to_end.conftest import Stack


@pytest.fixture
def drill_stopped_afterwards(stack: Stack) -> Iterator[None]:
    """End a drill that a failed test has left running, so that the next test does not fail too."""
    yield
    if session(stack).get("outcome") == "" or fault_files(stack):
        stack.demo("drill", "stop", check=False)
