"""A component that behaves as its JSON argument says, and notes in a diary what happens to it.

name, diary   Who it is; the file that gets a line for each event: name, event, process id.
port          Where it listens, unless it is ``silent``.
says          What it answers with 503, for as long as there is no file "warm" beside the diary.
deaf          Goes on after SIGTERM.
child         Starts a deaf child of its own, which it does not care for.
exit          How it ends, a code or -signal, after its last ``words``: once there is a file "die" beside the diary.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LINGER_SECONDS = 0.2
"""What a stop takes: long enough to see whether the next one is asked before this one is gone."""
TICK = 0.02

plan: dict[str, Any] = json.loads(sys.argv[1])
beside = Path(plan["diary"])


class Doors(BaseHTTPRequestHandler):
    """One answer for all paths."""

    def do_GET(self) -> None:
        """Ready, or not yet."""
        says = "" if beside.with_name("warm").exists() else plan.get("says", "")
        self.send_response(503 if says else 200)
        self.end_headers()
        self.wfile.write(says.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing: what is in the log is what the test put there."""


def note(event: str) -> None:
    """Write one line; appended at once, so lines of several components keep their order."""
    with beside.open("a") as diary:
        diary.write(f"{plan['name']} {event} {os.getpid()}\n")


def told(number: int, _frame: object) -> None:
    """Note the signal; end, unless deaf."""
    note(signal.Signals(number).name)
    if not plan.get("deaf"):
        time.sleep(LINGER_SECONDS)
        note("gone")
        os._exit(0)


def die_when_told() -> None:
    """Wait for the file, then die."""
    while not beside.with_name("die").exists():
        time.sleep(TICK)
    sys.stdout.write(plan.get("words", "") + "\n")
    sys.stdout.flush()
    if plan["exit"] < 0:
        os.kill(os.getpid(), -plan["exit"])
    os._exit(plan["exit"])


for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(each, told)
note("started")
if plan.get("child"):
    offspring = {"name": "child", "diary": plan["diary"], "silent": True, "deaf": True}
    subprocess.Popen([sys.executable, __file__, json.dumps(offspring)])
if "exit" in plan:
    threading.Thread(target=die_when_told, daemon=True).start()
if not plan.get("silent"):
    threading.Thread(
        target=ThreadingHTTPServer(("127.0.0.1", plan["port"]), Doors).serve_forever, daemon=True
    ).start()
while True:
    time.sleep(TICK)  # not signal.pause, which would not hear of a signal that came just before
