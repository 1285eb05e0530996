"""Breaks what a drill wants broken, and mends it: whatever ends the player, a fault ends within ``LEASE`` seconds after it.

Faults inside a service are turned on by a file that only this user can write (``services/common/active_faults.py``).
"""

import asyncio
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2

from three_pillar_demo.drills import proxy
from three_pillar_demo.drills.catalogue import DrillError, Fault
from three_pillar_demo.stack import control
from three_pillar_demo.stack.components import BY_NAME, LOOPBACK, STATE, environment
from three_pillar_demo.stack.preflight import LaunchError

DRILLS = STATE / "drill"
"""Everything about the drill that is played."""
LEASE, TOUCH = 2.0, 0.5
"""Seconds for which a service believes the file, and after which it is touched again."""
CALM: dict[str, Any] = {"failure_rate": 0.0, "latency_min": 0.05, "latency_max": 0.15}
"""The shop that a drill breaks: with the demo's own one failure in five, nobody would see another."""
STORE = STATE / "data" / "store" / "telemetry.db"
READY_SECONDS, TICK = 60.0, 0.1


def on() -> dict[str, dict[str, Any]]:
    """What is turned on in each service now: what a killed player has left is off by itself."""
    found = {}
    for path in sorted(DRILLS.glob("*.fault")):
        with suppress(OSError, ValueError):
            if time.time() - path.stat().st_mtime < LEASE:
                found[path.stem] = json.loads(path.read_text())
    return found


@asynccontextmanager
async def broken(fault: Fault) -> AsyncIterator[None]:
    """Have ``fault`` until the end of the block.

    Raises:
        DrillError: A part of it cannot be had here.
    """
    async with AsyncExitStack() as undo:
        payment, checkout = (
            part.model_dump(exclude_none=True) for part in (fault.payment, fault.checkout)
        )
        first = BY_NAME["payment"].address
        if fault.second_version or fault.clock_ahead:
            second = await undo.enter_async_context(_twin(fault))
            upstreams = [first, second] if fault.second_version else [second]
        else:
            upstreams = [first]
        if fault.drop_context or upstreams != [first]:
            checkout["via"] = await undo.enter_async_context(
                proxy.between(upstreams, drop_context=fault.drop_context)
            )
        if fault.lock_store:
            undo.enter_context(_locked(STORE))
        if fault.stop:
            await undo.enter_async_context(_away(fault.stop))
        await undo.enter_async_context(_told({"payment": CALM | payment, "checkout": checkout}))
        yield


@asynccontextmanager
async def _told(faults: Mapping[str, dict[str, Any]]) -> AsyncIterator[None]:
    """Tell the services, and keep telling them."""
    DRILLS.mkdir(parents=True, exist_ok=True, mode=0o700)
    paths = {name: DRILLS / f"{name}.fault" for name in faults}

    async def touch() -> None:
        while True:
            for path in paths.values():
                os.utime(path)
            await asyncio.sleep(TOUCH)

    try:
        for name, path in paths.items():
            draft = path.with_suffix(".draft")
            draft.unlink(missing_ok=True)
            draft.touch(0o600)
            draft.write_text(json.dumps(faults[name]))
            draft.replace(path)
        touching = asyncio.create_task(touch())
        try:
            yield
        finally:
            touching.cancel()
    finally:
        for path in paths.values():
            path.unlink(missing_ok=True)


@asynccontextmanager
async def _twin(fault: Fault) -> AsyncIterator[str]:
    """A second payment on a free port; yields its address once it is ready."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
    ours: dict[str, Any] = {"PORT": port, "FAILURE_RATE": 0, "LATENCY_MIN": CALM["latency_min"]}
    ours |= {"LATENCY_MAX": CALM["latency_max"], "DRILLS": ""} | (
        {"CRASH_OVER": fault.crash_over} if fault.crash_over else {}
    )
    env = environment(BY_NAME["payment"]) | {
        f"PAYMENT_{name}": str(value) for name, value in ours.items()
    }
    if fault.second_version:
        env["OTEL_RESOURCE_ATTRIBUTES"] = f"service.version={fault.second_version}"
    with BY_NAME["payment"].log.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603, ASYNC220  (our own module; started at once)
            [
                sys.executable,
                "-m",
                "three_pillar_demo.drills.second_payment",
                str(fault.clock_ahead),
            ],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://{LOOPBACK}:{port}"
        await _ready(url, process)
        yield url
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(process.wait, 10)
        process.kill()
        process.wait()


async def _ready(url: str, process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(READY_SECONDS), httpx2.AsyncClient(trust_env=False) as http:
        while process.poll() is None:
            with suppress(httpx2.HTTPError):
                if (await http.get(f"{url}/healthz")).is_success:
                    return
            await asyncio.sleep(TICK)
    raise DrillError("the second payment did not start; see: demo logs payment")


@asynccontextmanager
async def _away(names: Sequence[str]) -> AsyncIterator[None]:
    """Kill components, and start them at the end; a guard does, if this process is killed before."""
    guard = subprocess.Popen(  # noqa: S603, ASYNC220  (our own module; started at once)
        [sys.executable, "-m", "three_pillar_demo.drills.restorer", str(os.getpid()), *names],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for name in names:
            await asyncio.to_thread(control.act, "kill", name)
        yield
    except LaunchError as error:
        raise DrillError(str(error)) from error
    finally:
        for name in names:
            with suppress(LaunchError):  # the whole stack may be gone
                await asyncio.to_thread(control.act, "start", name)
        guard.terminate()
        guard.wait()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the embedded store's file, as a backup that never ends would; the system lets it go with this process."""
    file = sqlite3.connect(path, timeout=5.0, isolation_level=None)
    try:
        file.execute("BEGIN IMMEDIATE")
        yield
    except sqlite3.Error as error:
        raise DrillError(f"{path} cannot be held: {error}") from error
    finally:
        file.close()


def clear() -> None:
    """Remove what a killed player has left."""
    if DRILLS.exists():
        for path in DRILLS.glob("*.fault"):
            path.unlink(missing_ok=True)
