"""The texts of names, so that a name of which nothing can be seen is no blank place or link."""

from three_pillar_demo.terminal import printable

UNNAMED_SERVICE = "unnamed service"
"""The text for a service with an empty name, or one that has only blanks."""
UNNAMED_SPAN = "unnamed span"
"""The text for a span with such a name."""
MAX_NAME = 300
"""The number of characters that are shown where there is no other limit."""


def named(text: object, stand_in: str, limit: int = MAX_NAME) -> str:
    """Return ``text`` as ``printable`` shows it, or ``stand_in`` if that is empty or blank."""
    shown = printable(text, limit)
    return shown if shown.strip() else stand_in


def service_text(name: object, limit: int = MAX_NAME) -> str:
    """Return what is shown as the name of a service."""
    return named(name, UNNAMED_SERVICE, limit)


def span_text(name: object, limit: int = MAX_NAME) -> str:
    """Return what is shown as the name of a span."""
    return named(name, UNNAMED_SPAN, limit)
