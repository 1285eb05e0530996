"""The commands below ``demo drill``, as a ``demo`` command of their own."""

import typer

from three_pillar_demo.command_app import command_app
from three_pillar_demo.drills import command as drill_command

commands = typer.Typer()
"""The commands of this module, for the whole ``demo`` command."""
commands.add_typer(drill_command.app, name="drill")

app = command_app(commands)
"""The ``demo`` command with the commands of this module alone."""
