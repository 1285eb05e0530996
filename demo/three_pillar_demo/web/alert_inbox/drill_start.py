"""Decides whether a request may start a drill, and starts it.

A drill starts a process, kills components and injects faults. So the page offers what
``demo drill start`` does only to a browser on this machine that uses a loopback name.
``AccessMiddleware`` has already refused unknown names and other origins.
"""

import ipaddress
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request

from three_pillar_demo.drills import choice, launch, session
from three_pillar_demo.drills.catalogue import Drill, DrillError

DRILL_MODES = ("local", "full")
"""The modes of the stack in which drills exist; the launcher runs the stack in these."""
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
REFUSED = "a drill is started from this machine only, under a loopback name"


@dataclass(frozen=True)
class DrillStarter:
    """Starts drills for a page; ``mode`` is the mode of the stack."""

    mode: str

    def is_allowed(self, request: Request) -> bool:
        """Return whether ``request`` may start a drill.

        Behind a proxy, uvicorn takes the address of the client from ``X-Forwarded-For``.
        """
        name = request.headers.get("host", "").rpartition(":")[0].lower()
        is_here = request.client is not None and _is_loopback(request.client.host)
        return self.mode in DRILL_MODES and is_here and name in LOOPBACK_NAMES

    def offer(self, request: Request) -> list[Drill]:
        """Return the drills that ``request`` may start now, sorted by name.

        The list is empty while the process of a drill runs, or if the file of a drill is invalid.
        """
        current = session.latest()
        if not self.is_allowed(request) or (current and current.runner.alive()):
            return []
        try:
            return choice.drills_of(self.mode)
        except DrillError:
            return []

    def start(self, name: str, request: Request) -> None:
        """Start the drill ``name``, or a random one without showing its name if ``name`` is "".

        Raises:
            HTTPException: The request may not start drills (status 403).
            DrillError: There is no such drill, another one is running, or no stack is running.
        """
        if not self.is_allowed(request):
            raise HTTPException(403, REFUSED)
        drill, blind = choice.choose_drill(name, blind=not name)
        launch.launch(drill, choice.default_normal_operation_s(), blind=blind)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:  # Not an address, such as the path of a Unix socket.
        return False
