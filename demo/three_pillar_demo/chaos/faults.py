"""What is broken, and restored whatever happens: components, the receiver's manners, the disk under a component."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

from three_pillar_demo.chaos.faulty_receiver import FaultyReceiver
from three_pillar_demo.stack import control, state
from three_pillar_demo.stack.components import BY_NAME, STATE

T = TypeVar("T")
DISK_MIB = 24
"""The small disk: room for what a rehearsal tells while all is well."""


class ImpossibleError(Exception):
    """This machine, or this user, cannot have that rehearsal; the text says why."""


async def surely(work: Callable[[], T]) -> T:
    """Do ``work`` in a thread to its end, also when Ctrl-C comes meanwhile; that is heard afterwards."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    interrupted = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            interrupted = True
        except Exception:  # noqa: BLE001, S110  (raised below, as the task's result)
            pass
    if interrupted and not task.exception():
        raise asyncio.CancelledError
    return task.result()


def back(name: str) -> None:
    """Start a component again, if it is away on purpose."""
    run = state.running()
    if run and name in run.on_purpose:
        control.act("start", name)


@asynccontextmanager
async def away(verb: str, name: str) -> AsyncIterator[None]:
    """``kill`` or ``stop`` a component of the stack; it is back afterwards."""
    try:
        await surely(lambda: control.act(verb, name))
        yield
    finally:
        await surely(lambda: back(name))


@asynccontextmanager
async def misbehaving(front: FaultyReceiver, manner: str) -> AsyncIterator[None]:
    """The receiver in front has that ``manner``; it behaves well afterwards."""
    front.manner = manner
    try:
        yield
    finally:
        front.manner = "well"


def can_mount() -> None:
    """See whether a small disk can be had here.

    Raises:
        ImpossibleError: It cannot.
    """
    probe = STATE / "rehearsal-disk"
    probe.mkdir(parents=True, exist_ok=True)
    try:
        mount(probe)
        unmount(probe)
    finally:
        with suppress(OSError):
            probe.rmdir()


@asynccontextmanager
async def small_disk(name: str) -> AsyncIterator[Path]:
    """A tmpfs of ``DISK_MIB`` under a component, which starts anew on it; its own data is hidden meanwhile, and then back."""
    can_mount()
    data = BY_NAME[name].data
    try:
        await surely(lambda: control.act("stop", name))
        await surely(lambda: mount(data))
        await surely(lambda: back(name))
        yield data
    finally:
        await surely(lambda: _own_disk(name, data))


def _own_disk(name: str, data: Path) -> None:
    run = state.running()
    if run and name not in run.on_purpose:
        control.act("stop", name)
    unmount(data)
    back(name)


@asynccontextmanager
async def full(disk: Path) -> AsyncIterator[None]:
    """No byte is free on ``disk``; afterwards there is room again."""
    ballast = disk / "ballast"
    try:
        await surely(lambda: _fill(ballast))
        yield
    finally:
        await surely(lambda: ballast.unlink(missing_ok=True))


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\0" * 2**16):  # the last one fits in part
            pass


def mount(folder: Path) -> None:
    """Put a tmpfs of ``DISK_MIB`` there.

    Raises:
        ImpossibleError: This machine, or this user, may not.
    """
    command = shutil.which("mount")
    if not sys.platform.startswith("linux") or command is None:
        raise ImpossibleError("a small disk is a tmpfs, and this machine has no way to mount one")
    said = subprocess.run(  # noqa: S603  (fixed arguments)
        [command, "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=0700", "rehearsal", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if said.returncode:
        raise ImpossibleError(
            f"a small disk is a tmpfs, and mounting one is not permitted here: {said.stderr.strip()}"
        )


def unmount(folder: Path) -> None:
    """Take it away again, if it is there."""
    if folder.is_mount():
        subprocess.run(
            [shutil.which("umount") or "umount", "--lazy", str(folder)],
            capture_output=True,
            check=False,
        )
