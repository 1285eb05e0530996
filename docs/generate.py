"""Write the generated pages of the documentation: ``make docs``."""

import sys
from collections.abc import Callable
from pathlib import Path

from docs.generators import capacity, cli, decisions, messages, settings

DOCS = Path(__file__).parent

PAGES: dict[str, Callable[[], str]] = {
    "reference/settings.md": settings.page,
    "reference/cli.md": cli.page,
    "reference/messages.md": messages.page,
    "decisions/README.md": decisions.page,
    "explanation/scale.md": capacity.page,
}
"""The path of each generated page below docs/, and the function that returns its text."""


def main() -> int:
    """Write every page that has changed, and print its path; return the exit status."""
    for name, page in PAGES.items():
        path = DOCS / name
        text = page()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
