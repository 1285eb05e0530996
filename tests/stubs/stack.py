"""The demo command itself, on stub components: stack.py COMPONENTS.json up|down|status|logs ..."""

import fcntl
import json
import sys
import termios
from pathlib import Path

import demo.stack.components
from demo.stack.binaries import Binary
from demo.stack.components import Component

STUB = Path(__file__).with_name("component.py")

if sys.stdin.isatty():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # Ctrl-C there, and its hangup, are ours now
plans = json.loads(Path(sys.argv[1]).read_text())
components = tuple(
    Component(
        plan["name"],
        (sys.executable, str(STUB), json.dumps(plan)),
        (plan["port"], *plan.get("more_ports", ())),
        "/ready",
        plan.get("stop_order", 1),
        # Built with the go of this folder, it runs its arguments.
        binary=Binary(plan["binary"], "1.2.3", "stubtool", ("example.com/cmd/stubtool",)) if "binary" in plan else None,
        grace=plan.get("grace", 10.0),
        ready_seconds=plan.get("ready_seconds", 60.0),
    )
    for plan in plans
)
vars(demo.stack.components).update(COMPONENTS=components, BY_NAME={each.name: each for each in components})

import demo.__main__  # noqa: E402  (it takes the components as they are now)

sys.executable = str(Path(sys.argv[1]).with_name("demo"))  # what `up --detach` starts
sys.argv[1:2] = []
demo.__main__.app()
