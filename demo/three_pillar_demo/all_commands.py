"""The ``demo`` command with all its commands."""

from three_pillar_demo import (
    check_commands,
    drill_commands,
    plan_commands,
    request_commands,
    shop_commands,
    stack_commands,
    tour_commands,
)
from three_pillar_demo.command_app import command_app

app = command_app(
    tour_commands.commands,
    shop_commands.commands,
    request_commands.commands,
    check_commands.commands,
    plan_commands.commands,
    stack_commands.commands,
    drill_commands.commands,
    no_args_is_help=True,
)
