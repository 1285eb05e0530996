"""The entry point of the ``demo`` command, which imports only what the command given needs."""

import importlib
import sys

from three_pillars.pauses import no_collections

QUICK_COMMANDS = {"up", "view", "run", "down", "status", "kill", "stop", "start", "logs"}
"""The commands of ``stack_commands``, which need few imports."""


def main() -> None:
    """Run the command that the arguments of this process name."""
    is_quick = len(sys.argv) > 1 and sys.argv[1] in QUICK_COMMANDS
    module = "stack_commands" if is_quick else "all_commands"
    with no_collections():
        commands = importlib.import_module(f"three_pillar_demo.{module}")
    commands.app(prog_name="demo")


if __name__ == "__main__":
    main()
