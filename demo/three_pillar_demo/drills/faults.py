"""Injects the fault of a drill, and removes it again.

A fault also ends if the process that runs the drill is killed:

- A fault inside a service expires after ``fault_files.LEASE_S`` seconds.
- The second payment process and the proxy end with the process of the drill.
- The lock of the store's file is released by the operating system.
- Components that the drill has killed are started by the process ``restorer``.
"""

import asyncio
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2

from three_pillar_demo.drills import fault_files, proxy
from three_pillar_demo.drills.catalogue import DrillError, Fault
from three_pillar_demo.paths import STATE
from three_pillar_demo.stack import control
from three_pillar_demo.stack.components import BY_NAME
from three_pillar_demo.stack.environment import variables_of
from three_pillar_demo.stack.plain_http import NO_CERTIFICATES
from three_pillar_demo.stack.ports import LOOPBACK
from three_pillar_demo.stack.preflight import LaunchError

NORMAL_PAYMENT: dict[str, Any] = {"failure_rate": 0.0, "latency_min": 0.05, "latency_max": 0.15}
"""The settings of payment during a drill, which the fault of the drill overrides.

Latencies are in seconds. The failure rate is 0, because with the demo's own rate of 20 % no other
fault would be noticed.
"""
STORE_FILE = STATE / "data" / "store" / "telemetry.db"
"""The SQLite file of the local store."""
READY_TIMEOUT_S = 60.0
"""Seconds in which the second payment must become ready."""
POLL_INTERVAL_S = 0.1
"""Seconds between two requests that ask whether the second payment is ready."""
STOP_TIMEOUT_S = 10
"""Seconds that the second payment has to exit, before it is killed."""
LOCK_TIMEOUT_S = 5.0
"""Seconds to wait for the lock of ``STORE_FILE``."""


@asynccontextmanager
async def injected(fault: Fault) -> AsyncIterator[None]:
    """Inject ``fault``, and remove it at the end of the block.

    Raises:
        DrillError: A part of the fault cannot be injected here.
    """
    payment = fault.payment.model_dump(exclude_none=True)
    checkout = fault.checkout.model_dump(exclude_none=True)
    async with AsyncExitStack() as stack:
        own_payment = BY_NAME["payment"].address
        upstreams = [own_payment]
        if fault.second_version or fault.clock_ahead:
            second = await stack.enter_async_context(_second_payment(fault))
            upstreams = [own_payment, second] if fault.second_version else [second]
        if fault.drop_context or upstreams != [own_payment]:
            checkout["payment_url"] = await stack.enter_async_context(
                proxy.forwarding(upstreams, drop_context=fault.drop_context)
            )
        if fault.lock_store:
            stack.enter_context(_locked(STORE_FILE))
        if fault.stop:
            await stack.enter_async_context(_components_killed(fault.stop))
        service_faults = {"payment": NORMAL_PAYMENT | payment, "checkout": checkout}
        await stack.enter_async_context(fault_files.published(service_faults))
        yield


@asynccontextmanager
async def _second_payment(fault: Fault) -> AsyncIterator[str]:
    """Run a second payment process on a free port; yields its base URL once it is ready."""
    port = _free_port()
    with BY_NAME["payment"].log.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603, ASYNC220  (our own module; started at once)
            [
                sys.executable,
                "-m",
                "three_pillar_demo.drills.second_payment",
                str(fault.clock_ahead),
            ],
            env=_second_payment_environment(fault, port),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://{LOOPBACK}:{port}"
        await _wait_until_ready(url, process)
        yield url
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(process.wait, STOP_TIMEOUT_S)
        process.kill()
        process.wait()


def _free_port() -> int:
    """Return a TCP port of loopback on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _second_payment_environment(fault: Fault, port: int) -> dict[str, str]:
    """Return the environment variables of the second payment process."""
    settings: dict[str, Any] = {
        "PORT": port,
        "FAILURE_RATE": 0,
        "LATENCY_MIN": NORMAL_PAYMENT["latency_min"],
        "LATENCY_MAX": NORMAL_PAYMENT["latency_max"],
        "DRILLS": "",  # The second payment reads no fault file.
    }
    if fault.crash_over:
        settings["CRASH_OVER"] = fault.crash_over
    env = variables_of(BY_NAME["payment"])
    env |= {f"PAYMENT_{name}": str(value) for name, value in settings.items()}
    if fault.second_version:
        env["OTEL_RESOURCE_ATTRIBUTES"] = f"service.version={fault.second_version}"
    return env


async def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the second payment, ``process``, answers ``/healthz`` at its base URL ``url``.

    Raises:
        DrillError: The process has exited.
        TimeoutError: The process is not ready after ``READY_TIMEOUT_S`` seconds.
    """
    async with (
        asyncio.timeout(READY_TIMEOUT_S),
        httpx2.AsyncClient(trust_env=False, verify=NO_CERTIFICATES) as http,
    ):
        while process.poll() is None:
            with suppress(httpx2.HTTPError):
                if (await http.get(f"{url}/healthz")).is_success:
                    return
            await asyncio.sleep(POLL_INTERVAL_S)
    raise DrillError("the second payment did not start; see: demo logs payment")


@asynccontextmanager
async def _components_killed(names: Sequence[str]) -> AsyncIterator[None]:
    """Kill the components ``names``, and start them at the end of the block.

    If this process is killed first, the process ``restorer`` starts them.
    """
    restorer = subprocess.Popen(  # noqa: S603, ASYNC220  (our own module; started at once)
        [sys.executable, "-m", "three_pillar_demo.drills.restorer", str(os.getpid()), *names],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for name in names:
            await asyncio.to_thread(control.request, "kill", name)
        yield
    except LaunchError as error:
        raise DrillError(str(error)) from error
    finally:
        for name in names:
            with suppress(LaunchError):  # The whole stack may have stopped.
                await asyncio.to_thread(control.request, "start", name)
        restorer.terminate()
        restorer.wait()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the write lock of the SQLite file ``path`` until the end of the block.

    The operating system releases the lock when this process ends.
    """
    connection = sqlite3.connect(path, timeout=LOCK_TIMEOUT_S, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    except sqlite3.Error as error:
        raise DrillError(f"{path} cannot be locked: {error}") from error
    finally:
        connection.close()
