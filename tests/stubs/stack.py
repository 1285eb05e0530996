"""The demo command itself, on stub components: stack.py COMPONENTS.json up|down|status|logs ...

A plan may say ``full`` (only in that mode), ``binary`` (it is built) and ``official`` (name and version: it is brought).
"""

import fcntl
import json
import sys
import termios
from pathlib import Path
from typing import Any

import three_pillar_demo.stack.components
from three_pillar_demo.stack.binaries import Binary
from three_pillar_demo.stack.components import Component
from three_pillar_demo.stack.external_binary import ExternalBinary

STUB = Path(__file__).with_name("component.py")

if sys.stdin.isatty():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # Ctrl-C there, and its hangup, are ours now
plans = json.loads(Path(sys.argv[1]).read_text())


def binary(plan: dict[str, Any]) -> Binary | ExternalBinary | None:
    """What a component is started with; either kind runs its arguments."""
    if "official" in plan:
        name, version = plan["official"]
        return ExternalBinary(name, version, f"https://example.com/{name}/releases")
    # Built with the go of this folder.
    return (
        Binary(plan["binary"], "1.2.3", "stubtool", ("example.com/cmd/stubtool",))
        if "binary" in plan
        else None
    )


components = tuple(
    Component(
        plan["name"],
        (sys.executable, str(STUB), json.dumps(plan)),
        (plan["port"], *plan.get("more_ports", ())),
        "/ready",
        plan.get("stop_order", 1),
        binary=binary(plan),
        grace=plan.get("grace", 10.0),
        ready_seconds=plan.get("ready_seconds", 60.0),
    )
    for plan in plans
)
default = tuple(each for each, plan in zip(components, plans, strict=True) if not plan.get("full"))
three_pillar_demo.stack.components.MODES.update(local=default, full=components)
three_pillar_demo.stack.components.BY_NAME.update({each.name: each for each in components})

import three_pillar_demo.__main__  # noqa: E402  (it takes the components as they are now)

sys.executable = str(Path(sys.argv[1]).with_name("demo"))  # what `up --detach` starts
sys.argv[1:2] = []
three_pillar_demo.__main__.app()
