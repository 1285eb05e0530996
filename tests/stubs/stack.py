"""Runs the demo command with stub components: ``stack.py COMPONENTS.json up|down|status|...``.

COMPONENTS.json is a list of the descriptions that component.py understands. In addition:

full       The component belongs to the full mode only.
recipe     It has a binary of this recipe folder of native/, named "stubtool".
start_order  Its position when the stack starts.
tcp        It is ready once its port accepts connections.
external   It has an external binary: name and version.
"""

import fcntl
import json
import sys
import termios
from pathlib import Path
from typing import Any

import three_pillar_demo.stack.components
import three_pillar_demo.stack.restarts
from three_pillar_demo.stack.binaries import Binary
from three_pillar_demo.stack.component import Component
from three_pillar_demo.stack.external_binary import ExternalBinary
from three_pillar_demo.stack.ports import Port

STUB = Path(__file__).with_name("component.py")

if sys.stdin.isatty():
    # Make this the controlling terminal, so that Ctrl-C and a hangup reach this process.
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
plans = json.loads(Path(sys.argv[1]).read_text())


def binary(plan: dict[str, Any]) -> Binary | ExternalBinary | None:
    """Return the binary that a plan describes, or None."""
    if "external" in plan:
        name, version = plan["external"]
        return ExternalBinary(name, version, f"https://example.com/{name}/releases")
    if "recipe" in plan:
        return Binary(plan["recipe"], "1.2.3", "stubtool")
    return None


components = tuple(
    Component(
        plan["name"],
        (sys.executable, str(STUB), json.dumps(plan)),
        tuple(
            Port(f"STUB_{plan['name'].upper()}_{index}_PORT", port)
            for index, port in enumerate((plan["port"], *plan.get("more_ports", ())))
        ),
        "" if plan.get("tcp") else "/ready",
        plan.get("stop_order", 1),
        binary=binary(plan),
        grace_seconds=plan.get("grace", 10.0),
        ready_timeout_seconds=plan.get("ready_timeout", 60.0),
        start_order=plan.get("start_order", 0),
    )
    for plan in plans
)
local = tuple(
    component for component, plan in zip(components, plans, strict=True) if not plan.get("full")
)
three_pillar_demo.stack.components.MODES.update(local=local, full=components)
three_pillar_demo.stack.components.BY_NAME.update(
    {component.name: component for component in components}
)

three_pillar_demo.stack.restarts.FIRST_DELAY_S = 0.05  # Tests need not wait as long as users.
three_pillar_demo.stack.restarts.MAX_DELAY_S = 0.1

import three_pillar_demo.__main__  # noqa: E402  (after the components have been replaced)

# `up --detach` starts the launcher with this executable.
sys.executable = str(Path(sys.argv[1]).with_name("demo"))
del sys.argv[1]
three_pillar_demo.__main__.main()
