"""The page docs/reference/cli.md: every command with its arguments, options and help text."""

from collections.abc import Iterator
from typing import Any

import typer.main

from docs.generators.tables import NOTE, code, table
from three_pillar_demo.all_commands import app

HEAD = f"""{NOTE}

# The `demo` command

`make setup` installs the command as `.venv/bin/demo`. For use with your own programs, without the
shop, `pipx install DIR` installs it from a clone in the folder DIR. `demo --help` lists the
commands, and `demo COMMAND --help` prints what is on this page for one command. Every command exits
with status 0 when it succeeded, with 1 when it did not, and with 2 when its arguments are wrong.
`make` alone lists the verbs of the Makefile, most of which call this command.
"""

VALUE_NAMES = {int: "INTEGER", float: "NUMBER", str: "TEXT"}


def page() -> str:
    """Return the text of docs/reference/cli.md."""
    sections = [_section(name, command) for name, command in commands()]
    return "\n".join([HEAD, *sections])


def commands() -> Iterator[tuple[str, Any]]:
    """Yield each command of ``demo``: its full name ("demo drill start") and its click command."""
    yield from _walk("demo", typer.main.get_command(app))


def _walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401  (typer types its own click as Any)
    children = getattr(command, "commands", None)
    if children is None:
        yield name, command
        return
    for child_name, child in children.items():
        yield from _walk(f"{name} {child_name}", child)


def _section(name: str, command: Any) -> str:  # noqa: ANN401
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.params if item.param_type_name == "option"]
    usage = name
    if options:
        usage += " [OPTIONS]"
    for argument in arguments:
        usage += f" {_argument(argument)}"
    text = " ".join((command.help or "").split())
    parts = [f"## `{name}`\n", text, f"\n```console\n$ {usage}\n```\n"]
    if command.params:
        rows = [(code(_argument(item)), "", item.help or "") for item in arguments]
        rows += [(code(_option(item)), _default(item), item.help or "") for item in options]
        parts += [table(("argument or option", "default", "meaning"), rows), ""]
    return "\n".join(parts)


def _argument(item: Any) -> str:  # noqa: ANN401
    name = str(item.metavar or item.name.upper())
    if item.nargs != 1:
        name += "..."
    return name if item.required else f"[{name}]"


def _option(item: Any) -> str:  # noqa: ANN401
    names = ", ".join(item.opts)
    if item.is_flag:
        return names
    kind = _kind(item)
    limits = [
        f"{sign} {limit}"
        for sign, limit in ((">=", item.min), ("<=", item.max))
        if limit is not None
    ]
    return f"{names} {kind}" + (f" ({', '.join(limits)})" if limits else "")


def _kind(item: Any) -> str:  # noqa: ANN401
    if item.metavar:
        return str(item.metavar)
    annotation = item.type_descriptor.annotation
    return VALUE_NAMES.get(annotation, "TEXT")


def _default(item: Any) -> str:  # noqa: ANN401
    if item.is_flag or item.default in (None, ""):
        return ""
    return code(str(item.default))
