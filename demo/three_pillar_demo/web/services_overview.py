"""What the start pages show of all services: their list, their charts, and their names."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from three_pillar_demo.web.cache import QueryResult
from three_pillar_demo.web.data import PageData
from three_pillar_demo.web.log_list import LogList
from three_pillar_demo.web.panels import Panel
from three_pillar_demo.web.request_list import RequestList
from three_pillar_demo.web.service_charts import charted_services, query_red, service_panels
from three_pillar_demo.web.service_graph import ServiceGraph
from three_pillar_demo.web.services import ServiceRows, overview_rows
from three_pillar_demo.web.view_state import MAX_SERVICE_NAME, ViewState

MAX_CHOICES = 200
"""The number of services that a filter offers."""


@dataclass(frozen=True)
class ServicesOverview:
    """The services of a start page.

    Attributes:
        rows: Their list, or a part of it.
        names: The names of all of them: those of the charts, of the graph, and of the list first.
        panels: The charts of rate, error ratio and durations; empty without any service.
        graph: The calls between services.
    """

    rows: ServiceRows
    names: Sequence[str]
    panels: Sequence[Panel]
    graph: QueryResult[ServiceGraph]


async def query_overview(
    data: PageData,
    state: ViewState,
    graph_seconds: float,
    shop: Sequence[str] = (),
    own_trace_id: str = "",
) -> ServicesOverview:
    """Return the services over the minutes of ``state``; those of the ``shop`` have charts.

    ``graph_seconds`` is the time range of the service graph, and ``own_trace_id`` the trace id of
    the visitor's purchase, or "".
    """
    # The graph does not need the list of services, and takes as long. The charts do need it; most
    # often they are those of the list before, so that a visitor waits for both at once.
    drawing = asyncio.ensure_future(data.service_graph(graph_seconds))
    expected = charted_services(data.kept_services(state.minutes), shop)
    services, expected_red = await asyncio.gather(
        data.services(state.minutes), query_red(data, state, expected)
    )
    charted = charted_services(services.value or [], shop)
    others = [name for name in charted if name not in expected_red]
    other_red, graph = await asyncio.gather(query_red(data, state, others), drawing)
    found_red = {**expected_red, **other_red}
    red = {name: found_red[name] for name in charted}
    rows = overview_rows(services, state)
    # Those of the charts come first: they must differ in colour, also where there are many more.
    names = [*charted, *(graph.value.service_names if graph.value else [])]
    names += [row.name for row in rows.rows]
    panels = service_panels(red, state, data.colours.of(names), own_trace_id)
    names += [figures.name for figures in services.value or []]
    return ServicesOverview(rows, list(dict.fromkeys(names)), panels, graph)


def colours_of_view(
    data: PageData, services: ServicesOverview, requests: RequestList, logs: LogList
) -> dict[str, str]:
    """Return the CSS class of each service that a start page shows, by name."""
    others = [row.span.service for row in requests.value or []]
    others += [record.service for record in logs.value or []]
    return data.colours.of([*services.names, *others])


def choices(
    services: ServicesOverview, requests: RequestList, logs: LogList, state: ViewState
) -> list[str]:
    """Return the names that a filter offers: all that the page shows, sorted.

    Requests and log records may be older than the figures of the services.
    """
    names = {*services.names, state.service}
    names |= {row.span.service for row in requests.value or []}
    names |= {record.service for record in logs.value or []}
    allowed = [name for name in names if 0 < len(name) <= MAX_SERVICE_NAME and name.isprintable()]
    return sorted(allowed)[:MAX_CHOICES]
