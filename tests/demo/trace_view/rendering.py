"""The helper ``render``, which renders a trace as text of a given width."""

import io

from rich.console import Console

from three_pillar_demo.trace_view.render import Drawing
from three_pillar_demo.trace_view.view import TraceView


def render(view: TraceView, width: int = 80, *, terminal: bool = False) -> str:
    """Return the text that a console of ``width`` characters prints for ``view``.

    With ``terminal``, the text has colours as escape sequences.
    """
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=terminal,
        color_system="truecolor" if terminal else None,
    )
    with console.capture() as capture:
        console.print(Drawing(view))
    return capture.get()
