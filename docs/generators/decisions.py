"""The page docs/decisions/README.md: a list of all decision records with their titles."""

from pathlib import Path

from docs.generators.tables import NOTE

FOLDER = Path(__file__).resolve().parents[1] / "decisions"


def page() -> str:
    """Return the text of docs/decisions/README.md."""
    lines = [NOTE, "", "# Decisions", ""]
    for path in sorted(FOLDER.glob("[0-9]*.md")):
        heading = path.read_text(encoding="utf-8").splitlines()[0]
        number, _, title = heading.removeprefix("# ").partition(". ")
        lines.append(f"- [{number}]({path.name}): {title}")
    return "\n".join(lines) + "\n"
