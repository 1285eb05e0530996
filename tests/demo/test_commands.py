"""The ``demo`` command imports only what the command given needs."""

import importlib
import json
import subprocess
import sys

import typer.main

from three_pillar_demo import all_commands
from three_pillar_demo.__main__ import MODULES

LIST_IMPORTED_PARTS = """
import json, sys
from contextlib import suppress
from three_pillar_demo import __main__

with suppress(SystemExit):
    __main__.main()
print()
print(json.dumps(sorted({name.split(".")[1] for name in sys.modules
                         if name.startswith("three_pillar_demo.")})))
"""
OTHER_PARTS = {"all_commands", "chaos", "drills", "share", "verify", "web"}


def test_every_command_has_a_module() -> None:
    """Each command of the whole ``demo`` is in the module from which it is run."""
    whole = typer.main.get_command(all_commands.app)
    assert set(getattr(whole, "commands", ())) == MODULES.keys()
    for name, module in MODULES.items():
        own = importlib.import_module(f"three_pillar_demo.{module}").app
        assert name in getattr(typer.main.get_command(own), "commands", ())


def test_a_purchase_imports_nothing_of_other_commands() -> None:
    """``demo checkout`` imports neither drills nor the web UI, so that it starts quickly."""
    process = subprocess.run(
        [sys.executable, "-c", LIST_IMPORTED_PARTS, "checkout", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    parts = set(json.loads(process.stdout.splitlines()[-1]))
    assert "shop_commands" in parts
    assert not parts & OTHER_PARTS
