"""The page docs/decisions/README.md: the titles of all decision records."""

from pathlib import Path

from docs.generators.tables import NOTE

FOLDER = Path(__file__).resolve().parents[1] / "decisions"


def page() -> str:
    """Return the page."""
    lines = [NOTE, "", "# Decisions", ""]
    for path in sorted(FOLDER.glob("[0-9]*.md")):
        heading = path.read_text(encoding="utf-8").splitlines()[0]
        number, _, title = heading.removeprefix("# ").partition(". ")
        lines.append(f"- [{number}]({path.name}): {title}")
    return "\n".join(lines) + "\n"
