"""The faults of rehearsals are removed even after an error or Ctrl-C, and a full disk is full."""

import asyncio
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import InMemoryCollector
from three_pillar_demo.chaos import faults
from three_pillar_demo.chaos.faults import UnsupportedError
from three_pillar_demo.chaos.faulty_receiver import FaultyReceiver


def test_ctrl_c_waits_for_shielded_work() -> None:
    """``run_shielded`` finishes its function although the task is cancelled three times."""
    begun = threading.Event()
    go_on = threading.Event()
    done: list[str] = []

    def work() -> None:
        begun.set()
        assert go_on.wait(30)
        done.append("restored")

    async def cancel_repeatedly() -> None:
        task = asyncio.create_task(faults.run_shielded(work))
        assert await asyncio.to_thread(begun.wait, 30)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_repeatedly())
    assert done == ["restored"]


def test_an_error_in_shielded_work_is_raised() -> None:
    """``run_shielded`` raises the error of its function."""

    def work() -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        asyncio.run(faults.run_shielded(work))


def test_a_receiver_behaves_normally_afterwards(collector: InMemoryCollector) -> None:
    """After a block that raises, the faulty receiver behaves normally again."""

    async def fail_during_the_fault(receiver: FaultyReceiver) -> None:
        async with faults.misbehaving(receiver, "mute"):
            assert receiver.behaviour == "mute"
            raise ZeroDivisionError

    with FaultyReceiver(collector.url) as receiver:
        with pytest.raises(ZeroDivisionError):
            asyncio.run(fail_during_the_fault(receiver))
        assert receiver.behaviour == "normal"


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Mount a small disk and return its folder, or skip the test where mounting is not possible."""
    monkeypatch.setattr(faults, "STATE", tmp_path)
    try:
        faults.check_can_mount()
    except UnsupportedError as error:
        pytest.skip(str(error))
    folder = tmp_path / "disk"
    folder.mkdir()
    faults.mount(folder)
    yield folder
    faults.unmount(folder)
    assert not folder.is_mount()


def test_a_disk_is_filled_to_its_last_byte(disk: Path) -> None:
    """A full disk has no byte free, and afterwards it has space again and kept its other files."""
    (disk / "kept").write_text("kept")

    async def write_to_the_full_disk() -> None:
        async with faults.disk_filled(disk):
            assert shutil.disk_usage(disk).free == 0
            with pytest.raises(OSError, match="No space left"):
                (disk / "more").write_bytes(b"\0" * 8192)

    asyncio.run(write_to_the_full_disk())
    (disk / "more").write_bytes(b"\0" * 2**20)
    assert (disk / "kept").read_text() == "kept"


def test_a_machine_that_cannot_mount_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a mount command, and on another system than Linux, the error says so."""
    monkeypatch.setattr(faults, "STATE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnsupportedError, match="a small disk is a tmpfs"):
        faults.check_can_mount()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UnsupportedError, match="no way to mount one"):
        faults.check_can_mount()
    assert list(tmp_path.iterdir()) == []
