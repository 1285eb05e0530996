"""The entry point of the ``demo`` command, which imports only what the command given needs."""

import importlib
import sys

QUICK_COMMANDS = {"up", "view", "run"}
"""The commands of ``start_commands``, which need few imports."""


def main() -> None:
    """Run the command that the arguments of this process name."""
    is_quick = len(sys.argv) > 1 and sys.argv[1] in QUICK_COMMANDS
    module = "three_pillar_demo.start_commands" if is_quick else "three_pillar_demo.__main__"
    importlib.import_module(module).app(prog_name="demo")


if __name__ == "__main__":
    main()
