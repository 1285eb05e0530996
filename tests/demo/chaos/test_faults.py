"""What is broken is restored, whatever happens meanwhile; a small disk is full to its last byte, or cannot be had."""

import asyncio
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import Sink
from three_pillar_demo.chaos import faults
from three_pillar_demo.chaos.faults import ImpossibleError
from three_pillar_demo.chaos.faulty_receiver import FaultyReceiver


def test_ctrl_c_waits_for_a_restoration() -> None:
    """Work that restores something is done to its end, however often it is interrupted, and then the interruption is heard."""
    begun, go_on, done = threading.Event(), threading.Event(), list[str]()

    def work() -> None:
        begun.set()
        assert go_on.wait(30)
        done.append("restored")

    async def interrupted() -> None:
        task = asyncio.create_task(faults.surely(work))
        assert await asyncio.to_thread(begun.wait, 30)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(interrupted())
    assert done == ["restored"]


def test_what_goes_wrong_is_heard() -> None:
    """A restoration that fails says so, interrupted or not."""

    def work() -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        asyncio.run(faults.surely(work))


def test_a_receiver_behaves_well_afterwards(sink: Sink) -> None:
    """However a block ends, the receiver in front is as it was."""

    async def play(front: FaultyReceiver) -> None:
        async with faults.misbehaving(front, "mute"):
            assert front.manner == "mute"
            raise ZeroDivisionError

    with FaultyReceiver(sink.url) as front:
        with pytest.raises(ZeroDivisionError):
            asyncio.run(play(front))
        assert front.manner == "well"


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small disk, where one can be had."""
    monkeypatch.setattr(faults, "STATE", tmp_path)
    try:
        faults.can_mount()
    except ImpossibleError as error:
        pytest.skip(str(error))
    folder = tmp_path / "disk"
    folder.mkdir()
    faults.mount(folder)
    yield folder
    faults.unmount(folder)
    assert not folder.is_mount()


def test_a_disk_is_full_to_its_last_byte_and_then_has_room(disk: Path) -> None:
    """While it is full nobody can write a byte; afterwards everybody can, and only what was put there is gone."""
    (disk / "kept").write_text("kept")

    async def play() -> None:
        async with faults.full(disk):
            assert shutil.disk_usage(disk).free == 0
            with pytest.raises(OSError, match="No space left"):
                (disk / "more").write_bytes(b"\0" * 8192)

    asyncio.run(play())
    (disk / "more").write_bytes(b"\0" * 2**20)
    assert (disk / "kept").read_text() == "kept"


def test_where_nothing_can_be_mounted_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without mount, and a system without tmpfs, are told apart from a rehearsal that failed."""
    monkeypatch.setattr(faults, "STATE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImpossibleError, match="a small disk is a tmpfs"):
        faults.can_mount()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ImpossibleError, match="no way to mount one"):
        faults.can_mount()
    assert list(tmp_path.iterdir()) == []
