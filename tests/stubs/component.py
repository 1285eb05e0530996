"""A stub component, whose behaviour is described by its JSON argument.

name, event_log   Its name, and the file that it appends each event to: name, event, process id.
port              The port that it listens on, unless its environment variable names another.
no_listener       It does not listen.
not_ready_body    It answers 503 with this body until the flag file "ready" exists.
ignores_sigterm   It keeps running after a signal to stop.
spawns_child      It starts a child that ignores signals, and does not stop that child.
exit_code         Once the flag file "exit" exists, it ends with this code, or signal -exit_code.
last_output       The text that it prints before that.

The flag files are in the folder of the event log.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

SHUTDOWN_S = 0.2
"""Seconds to end after a signal.

They are long enough to notice if the next component is stopped before this one has ended.
"""
POLL_INTERVAL_S = 0.02
REQUEST_TIMEOUT_S = 1
"""Seconds in which a connection must send its request; a check of the port alone sends none."""

plan: dict[str, Any] = json.loads(sys.argv[1])
event_log = Path(plan["event_log"])


def serve(listener: socket.socket) -> None:
    """Answer every request with 200, or with 503 while the component is not ready.

    The module ``http.server`` takes longer to import than all the rest takes.
    """
    while True:
        connection, _ = listener.accept()
        connection.settimeout(REQUEST_TIMEOUT_S)
        with connection, suppress(OSError):  # the client has gone
            if connection.recv(65536):
                connection.sendall(response().encode())


def response() -> str:
    """Return the response to any request, in HTTP."""
    body = plan.get("not_ready_body", "")
    if event_log.with_name("ready").exists():
        body = ""
    status = "503 Service Unavailable" if body else "200 OK"
    return f"HTTP/1.0 {status}\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}"


def record(event: str) -> None:
    """Append ``event`` as one line to the event log, which all components share."""
    with event_log.open("a") as file:
        file.write(f"{plan['name']} {event} {os.getpid()}\n")


def handle_signal(number: int, _frame: object) -> None:
    """Record the signal, and end unless the component ignores signals."""
    record(signal.Signals(number).name)
    if not plan.get("ignores_sigterm"):
        time.sleep(SHUTDOWN_S)
        record("gone")
        os._exit(0)


def exit_on_flag() -> None:
    """Wait for the flag file "exit", print the last output and end with the planned code."""
    while not event_log.with_name("exit").exists():
        time.sleep(POLL_INTERVAL_S)
    sys.stdout.write(plan.get("last_output", "") + "\n")
    sys.stdout.flush()
    if plan["exit_code"] < 0:
        os.kill(os.getpid(), -plan["exit_code"])
    os._exit(plan["exit_code"])


def spawn_child() -> None:
    """Start another stub component as a child, which ignores signals."""
    child = {
        "name": "child",
        "event_log": plan["event_log"],
        "no_listener": True,
        "ignores_sigterm": True,
    }
    import subprocess  # noqa: PLC0415  (few components need it)

    subprocess.Popen([sys.executable, __file__, json.dumps(child)])


for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, handle_signal)
record("started")
if plan.get("spawns_child"):
    spawn_child()
if "exit_code" in plan:
    threading.Thread(target=exit_on_flag, daemon=True).start()
if not plan.get("no_listener"):
    port = int(os.environ.get(f"STUB_{plan['name'].upper()}_0_PORT", plan["port"]))
    listener = socket.create_server(("127.0.0.1", port))
    threading.Thread(target=serve, args=[listener], daemon=True).start()
while True:
    # Not signal.pause(), which would miss a signal that arrived just before it.
    time.sleep(POLL_INTERVAL_S)
