"""The services of the telemetry: their list, their colours and their addresses."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from three_pillar_demo.query.service_figures import Figures
from three_pillar_demo.web.cache import QueryResult
from three_pillar_demo.web.figure_rows import FigureRow, figure_row
from three_pillar_demo.web.service_list_state import ServiceListState
from three_pillar_demo.web.view_state import MAX_SERVICE_NAME, ViewState

MAX_ON_OVERVIEW = 8
"""The number of services that the overview lists."""
PAGE_SIZE = 50
"""The number of services on one page of their list."""

ORDERS: dict[str, Callable[[Figures], tuple[object, ...]]] = {
    "name": lambda figures: (figures.name.casefold(), figures.name),
    "rate": lambda figures: (-(figures.rate or 0.0), figures.name),
    "errors": lambda figures: (-(figures.error_ratio or 0.0), -figures.failed, figures.name),
    "slow": lambda figures: (-(figures.quantiles[1] or 0.0), figures.name),
}
"""The possible orders of the list, by the value of the parameter ``sort``."""

ServiceFigures = QueryResult[list[Figures]]
"""The figures of all services, sorted by name, or the error of their query."""


@dataclass(frozen=True)
class ServiceRows:
    """A part of the list of services.

    Attributes:
        rows: The services of this part.
        total: The number of all services that match the filter.
        before: The number of matching services before this part.
        address: The address of the whole list.
        error: Why nothing is known; empty if something is.
    """

    rows: list[FigureRow]
    total: int
    before: int = 0
    address: str = "/services"
    error: str = ""

    @property
    def more(self) -> int:
        """The number of matching services after this part."""
        return self.total - self.before - len(self.rows)


def address_of_service(name: str, state: ViewState) -> str:
    """Return the address of the page of a service; empty if its name is too long for an address."""
    if not 0 < len(name) <= MAX_SERVICE_NAME:
        return ""
    return f"/service{ViewState(minutes=state.minutes, still=state.still).query(service=name)}"


def addresses_from(state: ViewState) -> Callable[[str], str]:
    """Return the function that returns the address of a service in the graph of a start page.

    Unlike ``address_of_service``, it keeps the filters of the page. It makes each address once.
    """
    return cache(lambda name: f"/service{state.query(service=name, before=0, tour=None)}")


def address_of_list(state: ViewState) -> str:
    """Return the address of the list of all services."""
    return f"/services{ViewState(minutes=state.minutes, still=state.still).query()}"


def overview_rows(services: ServiceFigures, state: ViewState) -> ServiceRows:
    """Return at most ``MAX_ON_OVERVIEW`` services, those with failed requests first.

    If there are more, those with most failed requests are chosen, and then the busiest ones. Those
    with failures, and the others, are sorted by name, so that rows keep their place.
    """
    found = services.value or []
    chosen = sorted(found, key=lambda figures: (-figures.failed, -figures.requests, figures.name))
    rows = sorted(chosen[:MAX_ON_OVERVIEW], key=lambda figures: (figures.failed <= 0, figures.name))
    return ServiceRows(
        _rows(rows, state),
        len(found),
        address=address_of_list(state),
        error=services.error,
    )


def page_rows(services: ServiceFigures, state: ServiceListState) -> ServiceRows:
    """Return the page of the list that ``state`` asks for: its filter, order and page."""
    wanted = state.find.casefold()
    found = [figures for figures in services.value or [] if wanted in figures.name.casefold()]
    found.sort(key=ORDERS[state.sort])
    last_page = max(1, -(-len(found) // PAGE_SIZE))
    before = (min(state.page, last_page) - 1) * PAGE_SIZE
    rows = _rows(found[before : before + PAGE_SIZE], state)
    return ServiceRows(rows, len(found), before, address_of_list(state), services.error)


def _rows(found: list[Figures], state: ViewState) -> list[FigureRow]:
    return [figure_row(figures, address_of_service(figures.name, state)) for figures in found]
