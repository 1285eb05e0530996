"""The faults of rehearsals. Each is a context manager that removes its fault however it ends.

A component can be killed or stopped, the receiver can misbehave, and a component's disk can be
full.
"""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

from three_pillar_demo.chaos.faulty_receiver import Behaviour, FaultyReceiver
from three_pillar_demo.stack import control, state
from three_pillar_demo.stack.components import BY_NAME, STATE

T = TypeVar("T")
DISK_MIB = 24
"""Size of the small disk: enough for the telemetry of a rehearsal without a fault."""
BLOCK_BYTES = 2**16


class UnsupportedError(Exception):
    """This machine or user cannot run the rehearsal; the text says why."""


async def run_shielded(function: Callable[[], T]) -> T:
    """Run ``function`` in a thread to its end, even if this task is cancelled meanwhile.

    The cancellation is raised afterwards, unless the function itself has failed.
    """
    task = asyncio.ensure_future(asyncio.to_thread(function))
    interrupted = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            interrupted = True
        except Exception:  # noqa: BLE001, S110  (raised below, as the result of the task)
            pass
    if interrupted and not task.exception():
        raise asyncio.CancelledError
    return task.result()


def start_again(name: str) -> None:
    """Start a component if it was stopped or killed on request."""
    run = state.running()
    if run and name in run.on_purpose:
        control.request("start", name)


@asynccontextmanager
async def component_down(verb: str, name: str) -> AsyncIterator[None]:
    """``kill`` or ``stop`` a component of the stack, and start it at the end of the block."""
    try:
        await run_shielded(lambda: control.request(verb, name))
        yield
    finally:
        await run_shielded(lambda: start_again(name))


@asynccontextmanager
async def misbehaving(receiver: FaultyReceiver, behaviour: Behaviour) -> AsyncIterator[None]:
    """Let ``receiver`` misbehave until the end of the block."""
    receiver.behaviour = behaviour
    try:
        yield
    finally:
        receiver.behaviour = "normal"


def check_can_mount() -> None:
    """Check that a small disk can be mounted here, by mounting one.

    Raises:
        UnsupportedError: It cannot.
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
    """Mount a tmpfs of ``DISK_MIB`` over a component's data folder; yields the folder.

    The component is restarted on it. Its own data is hidden until the end of the block.

    Raises:
        UnsupportedError: A tmpfs cannot be mounted here.
    """
    check_can_mount()
    data = BY_NAME[name].data
    try:
        await run_shielded(lambda: control.request("stop", name))
        await run_shielded(lambda: mount(data))
        await run_shielded(lambda: start_again(name))
        yield data
    finally:
        await run_shielded(lambda: _return_to_own_disk(name, data))


def _return_to_own_disk(name: str, data: Path) -> None:
    run = state.running()
    if run and name not in run.on_purpose:
        control.request("stop", name)
    unmount(data)
    start_again(name)


@asynccontextmanager
async def disk_filled(disk: Path) -> AsyncIterator[None]:
    """Leave no byte free on ``disk`` until the end of the block."""
    ballast = disk / "ballast"
    try:
        await run_shielded(lambda: _fill(ballast))
        yield
    finally:
        await run_shielded(lambda: ballast.unlink(missing_ok=True))


def _fill(ballast: Path) -> None:
    block = b"\0" * BLOCK_BYTES
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        # The last write succeeds in part, so that really no byte is left.
        while file.write(block):
            pass


def mount(folder: Path) -> None:
    """Mount a tmpfs of ``DISK_MIB`` at ``folder``.

    Raises:
        UnsupportedError: The system has no tmpfs, or this user may not mount.
    """
    command = shutil.which("mount")
    if not sys.platform.startswith("linux") or command is None:
        raise UnsupportedError("a small disk is a tmpfs, and this machine has no way to mount one")
    done = subprocess.run(  # noqa: S603  (fixed arguments)
        [command, "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=0700", "rehearsal", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UnsupportedError(
            "a small disk is a tmpfs, and mounting one is not permitted here: "
            f"{done.stderr.strip()}"
        )


def unmount(folder: Path) -> None:
    """Unmount ``folder`` if something is mounted there."""
    if folder.is_mount():
        subprocess.run(  # noqa: S603  (fixed arguments)
            [shutil.which("umount") or "umount", "--lazy", str(folder)],
            capture_output=True,
            check=False,
        )
