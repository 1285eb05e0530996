"""Renders a trace as a console of a given width prints it."""

import io

from rich.console import Console

from three_pillar_demo.trace_view.render import Drawing
from three_pillar_demo.trace_view.view import TraceView


def render(view: TraceView, width: int = 80, *, terminal: bool = False) -> str:
    """Return what a console of that width prints."""
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=terminal,
        color_system="truecolor" if terminal else None,
    )
    with console.capture() as capture:
        console.print(Drawing(view))
    return capture.get()
