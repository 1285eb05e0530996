"""The faults of the rehearsals, as context managers.

A component can be killed or stopped, the receiver of the telemetry can misbehave, and a disk can be
full. Each context manager removes its fault at the end of its block, also after an error or Ctrl-C.
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
from three_pillar_demo.paths import STATE
from three_pillar_demo.stack import control, state
from three_pillar_demo.stack.components import BY_NAME

T = TypeVar("T")
DISK_MIB = 24
"""The size of the small disk, in MiB: enough for the telemetry of a rehearsal without a fault."""
BLOCK_BYTES = 2**16
"""How many bytes are written at once when the small disk is filled."""


class UnsupportedError(Exception):
    """The rehearsal cannot run on this machine or as this user; the message says why."""


async def run_shielded(function: Callable[[], T]) -> T:
    """Run ``function`` in a thread to its end, even if the calling task is cancelled.

    Returns:
        The result of ``function``.

    Raises:
        CancelledError: The task was cancelled, and ``function`` raised no error.
        Exception: The error that ``function`` raised.
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
    """Start the component ``name`` if it was stopped or killed on purpose.

    Without a running stack, nothing is started.
    """
    run = state.running()
    if run and name in run.on_purpose:
        control.request("start", name)


@asynccontextmanager
async def component_down(verb: str, name: str) -> AsyncIterator[None]:
    """Kill or stop the component ``name`` of the stack, and start it at the end of the block.

    ``verb`` is ``kill`` (SIGKILL) or ``stop``.
    """
    try:
        await run_shielded(lambda: control.request(verb, name))
        yield
    finally:
        await run_shielded(lambda: start_again(name))


@asynccontextmanager
async def misbehaving(receiver: FaultyReceiver, behaviour: Behaviour) -> AsyncIterator[None]:
    """Let ``receiver`` misbehave as ``behaviour`` says until the end of the block."""
    receiver.behaviour = behaviour
    try:
        yield
    finally:
        receiver.behaviour = "normal"


def check_can_mount() -> None:
    """Check that this user can mount a tmpfs on this machine, by mounting and unmounting one.

    Raises:
        UnsupportedError: Mounting is not possible or not permitted.
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
    """Mount a tmpfs of ``DISK_MIB`` over the data folder of the component ``name``.

    Yields the folder. The component is restarted, so that it writes to the small disk. The earlier
    data of the component is hidden until the end of the block.

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
    """Unmount the small disk from the folder ``data``, and restart the component ``name``."""
    run = state.running()
    if run and name not in run.on_purpose:
        control.request("stop", name)
    unmount(data)
    start_again(name)


@asynccontextmanager
async def disk_filled(disk: Path) -> AsyncIterator[None]:
    """Fill the file system at ``disk`` to its last byte until the end of the block."""
    ballast = disk / "ballast"
    try:
        await run_shielded(lambda: _fill(ballast))
        yield
    finally:
        await run_shielded(lambda: ballast.unlink(missing_ok=True))


def _fill(ballast: Path) -> None:
    """Write to the file ``ballast`` until the disk is full."""
    block = b"\0" * BLOCK_BYTES
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        # The last write succeeds in part, so that really no byte is left.
        while file.write(block):
            pass


def mount(folder: Path) -> None:
    """Mount a tmpfs of ``DISK_MIB`` at ``folder``.

    Raises:
        UnsupportedError: This is not Linux, the command ``mount`` is missing, or the mount fails.
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
