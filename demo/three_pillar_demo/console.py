"""The output of the ``demo`` command: standard output, standard error, and how a command fails."""

import io
import sys
from typing import NoReturn

from rich.console import Console
from rich.text import Text

from three_pillar_demo.terminal import printable

for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):
        # A terminal that cannot show a character shows a question mark instead of a traceback.
        stream.reconfigure(errors="replace")
out = Console(highlight=False)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def fail(command: str, error: Exception | str, exit_code: int = 1) -> NoReturn:
    """Print why ``command`` has failed on standard error, and exit with ``exit_code``."""
    # The text may contain the answer of a backend, so control characters are escaped.
    message = "\n".join(printable(line, 600) for line in str(error).splitlines())
    err.print(Text.assemble((f"demo {command}: ", "red"), message))
    sys.exit(exit_code)
