"""Says what goes on while somebody waits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from three_pillar_demo.trace_view.view import clean


@contextmanager
def saying(err: Console) -> Iterator[Callable[[str], None]]:
    """Say what goes on: in one place that goes away on a terminal, else in a line for each thing."""
    told = set[str]()
    with err.status("") as status:

        def say(step: str) -> None:
            if err.is_terminal:
                status.update(Text(clean(step), "dim"))
            elif step not in told:
                told.add(step)
                err.print(Text(clean(step), "dim"), soft_wrap=True)

        yield say
