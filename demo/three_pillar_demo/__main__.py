"""The entry point of the ``demo`` command, which imports only what the command given needs."""

import importlib
import sys

from three_pillars.pauses import no_collections

COMMANDS = {
    "tour_commands": ("tour",),
    "shop_commands": ("checkout", "traffic"),
    "request_commands": ("follow", "tail", "import"),
    "check_commands": ("verify", "rehearse"),
    "plan_commands": ("capacity",),
    "stack_commands": ("up", "view", "run", "down", "status", "kill", "stop", "start", "logs"),
    "drill_commands": ("drill",),
}
"""The commands of each module. A command imports its module alone, which takes half the time or
less of ``all_commands``; that has them all, for the help and for misspelt commands."""
MODULES = {command: module for module, commands in COMMANDS.items() for command in commands}


def main() -> None:
    """Run the command that the arguments of this process name."""
    module = MODULES.get(sys.argv[1] if len(sys.argv) > 1 else "", "all_commands")
    with no_collections():
        commands = importlib.import_module(f"three_pillar_demo.{module}")
    commands.app(prog_name="demo")


if __name__ == "__main__":
    main()
