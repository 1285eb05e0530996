"""One component ended or started on purpose, from another terminal: a wish lies in a file until the launcher has taken it."""

import time
from collections.abc import Iterator
from contextlib import suppress

import httpx2

from three_pillar_demo.stack import state
from three_pillar_demo.stack.components import MODES, STATE, Component
from three_pillar_demo.stack.preflight import LaunchError, check_ports
from three_pillar_demo.stack.process import KILL_SECONDS, PROBE_SECONDS, TICK

WISHES = STATE / "wishes"
ENDED = {"kill": "killed", "stop": "stopped"}
"""What a component is after each verb; ``start`` undoes both."""
MARGIN_SECONDS = 10.0
"""What the launcher may take besides, on a busy machine."""


def act(verb: str, name: str) -> float:
    """Have the launcher ``kill``, ``stop`` or ``start`` one component, and wait until that is done; returns how long it took.

    Raises:
        LaunchError: There is no such component or no stack, it is so already, or it was not done; the text says which.
    """
    run, component = _look(name)
    ended = run.on_purpose.get(name)
    if verb == "start" and not ended:
        raise LaunchError(f"{name} runs already")
    if verb != "start" and ended:
        raise LaunchError(
            f"{name} was {ended} on purpose already; `demo start {name}` starts it again"
        )
    if verb == "start":
        check_ports(
            [component]
        )  # the launcher would take it for a component that dies, and stop all
    began = time.monotonic()
    wish = WISHES / name
    wish.parent.mkdir(parents=True, exist_ok=True)
    draft = wish.with_suffix(".draft")
    draft.write_text(verb)
    draft.replace(wish)
    deadline = (
        began
        + MARGIN_SECONDS
        + (component.ready_seconds if verb == "start" else component.grace + KILL_SECONDS)
    )
    while not _done(verb, component):
        if time.monotonic() > deadline:
            wish.unlink(missing_ok=True)
            raise LaunchError(
                f"the launcher has not done it after {time.monotonic() - began:.0f} s; see: demo logs launcher"
            )
        time.sleep(TICK)
    return time.monotonic() - began


def _look(name: str) -> tuple[state.Run, Component]:
    if (run := state.running()) is None:
        raise LaunchError(
            "nothing is running: `demo up --detach` starts the stack (in compose: docker compose kill, stop, start)"
        )
    known = {component.name: component for component in MODES[run.mode]}
    if name not in known:
        raise LaunchError(
            f"there is no {name!r} in the {run.mode} stack; there are: {', '.join(known)}"
        )
    if not run.ready:
        raise LaunchError(
            "the stack is still starting, or stopping already: `demo status` says when it is ready"
        )
    return run, known[name]


def _done(verb: str, component: Component) -> bool:
    run = state.running()
    if run is None or not run.ready:
        raise LaunchError("the whole stack has stopped meanwhile; see: demo logs launcher")
    if verb != "start":
        return run.on_purpose.get(component.name) == ENDED[verb]
    return component.name not in run.on_purpose and answers(component)


def answers(component: Component) -> bool:
    """Whether it says that it is ready."""
    try:
        return httpx2.get(component.ready_url, timeout=PROBE_SECONDS, trust_env=False).is_success
    except httpx2.HTTPError:
        return False


def taken() -> Iterator[tuple[str, str]]:
    """The launcher's side: each wish that lies there, as (component, verb), and it lies there no more."""
    for wish in sorted(WISHES.glob("*")) if WISHES.exists() else ():
        if wish.suffix == ".draft":
            continue
        with suppress(OSError):  # whoever wished it has given up, and took it away
            verb = wish.read_text()
            wish.unlink()
            yield wish.name, verb


def forget() -> None:
    """Throw away what was wished of an earlier launcher."""
    for wish in WISHES.glob("*") if WISHES.exists() else ():
        wish.unlink()
