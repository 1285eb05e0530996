"""Requests to kill, stop or start one component, made from another terminal.

A request is a file in ``REQUESTS`` that is named after the component and contains the verb: kill,
stop or start. The launcher removes the file when it carries out the request.
"""

import time
from collections.abc import Iterator
from contextlib import suppress

from three_pillar_demo.paths import STATE
from three_pillar_demo.stack import readiness, state
from three_pillar_demo.stack.component import Component
from three_pillar_demo.stack.components import MODES
from three_pillar_demo.stack.preflight import LaunchError, check_ports
from three_pillar_demo.stack.process import KILL_TIMEOUT_S, POLL_INTERVAL_S

REQUESTS = STATE / "requests"
STATE_AFTER = {"kill": "killed", "stop": "stopped"}
"""The state of a component after each verb, except ``start``."""
MARGIN_S = 10.0
"""Seconds to wait for the launcher, in addition to the component's own time limits."""


def request(verb: str, name: str) -> float:
    """Request the launcher to kill, stop or start a component, and wait until it has done so.

    ``verb`` is ``kill``, ``stop`` or ``start``, and ``name`` is the name of the component.

    Returns:
        The duration of the request in seconds.

    Raises:
        LaunchError: The request is impossible in the present state of the stack, or the launcher
            did not carry it out in time. The message gives the reason.
    """
    run, component = _find(name)
    ended = run.on_purpose.get(name)
    if verb == "start":
        process = run.components.get(name)
        if process and process.alive():
            raise LaunchError(f"{name} is already running")
        # Otherwise the component would exit for lack of its port, again and again.
        check_ports([component])
    elif ended:
        raise LaunchError(
            f"{name} was already {ended} on purpose; `demo start {name}` starts it again"
        )
    return _submit(verb, component)


def _submit(verb: str, component: Component) -> float:
    began = time.monotonic()
    timeout = MARGIN_S
    if verb == "start":
        timeout += component.ready_timeout_seconds
    else:
        timeout += component.grace_seconds + KILL_TIMEOUT_S
    file = REQUESTS / component.name
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.write_text(verb)
    draft.replace(file)
    while not _is_done(verb, component):
        elapsed = time.monotonic() - began
        if elapsed > timeout:
            file.unlink(missing_ok=True)
            raise LaunchError(
                f"the launcher did not {verb} {component.name} within {elapsed:.0f} s; "
                "see: demo logs launcher"
            )
        time.sleep(POLL_INTERVAL_S)
    return time.monotonic() - began


def _find(name: str) -> tuple[state.Run, Component]:
    run = state.running()
    if run is None:
        raise LaunchError(
            "nothing is running: `demo up --detach` starts the stack "
            "(in compose: docker compose kill, stop, start)"
        )
    components = {component.name: component for component in MODES[run.mode]}
    if name not in components:
        raise LaunchError(
            f"no component {name!r} in the {run.mode} stack; components: {', '.join(components)}"
        )
    if not run.ready:
        raise LaunchError(
            "the stack is still starting, or already stopping: `demo status` shows when it is ready"
        )
    return run, components[name]


def _is_done(verb: str, component: Component) -> bool:
    run = state.running()
    if run is None or not run.ready:
        raise LaunchError("the whole stack has stopped in the meantime; see: demo logs launcher")
    if verb == "start":
        return component.name not in run.on_purpose and is_ready(component)
    return run.on_purpose.get(component.name) == STATE_AFTER[verb]


def is_ready(component: Component) -> bool:
    """Return whether the readiness URL of the component answers with success."""
    is_success, _ = readiness.ask(component.ready_url)
    return is_success


def pop_requests() -> Iterator[tuple[str, str]]:
    """Remove every pending request, and yield the component and the verb of each one.

    Only the launcher calls this function.
    """
    for file in sorted(REQUESTS.glob("*")):
        if file.suffix == ".draft":
            continue
        # The file is gone where the other terminal has just given up waiting.
        with suppress(OSError):
            verb = file.read_text()
            file.unlink()
            yield file.name, verb


def clear() -> None:
    """Remove all request files, which an earlier launcher has left."""
    for file in REQUESTS.glob("*"):
        file.unlink()
