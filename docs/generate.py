"""Writes the generated reference pages: ``python -m docs.generate``, or ``make docs``."""

import sys
from collections.abc import Callable
from pathlib import Path

from docs.generators import cli, messages, settings

REFERENCE = Path(__file__).parent / "reference"

PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings.page,
    "cli.md": cli.page,
    "messages.md": messages.page,
}
"""The generated pages below docs/reference/, and the function that returns the text of each."""


def main() -> int:
    """Write every page that has changed, and print its path; return the exit status."""
    for name, page in PAGES.items():
        path = REFERENCE / name
        text = page()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
