"""What the start pages show of all services: their list, their charts, and their names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from three_pillar_demo.web.data import PageData
from three_pillar_demo.web.log_list import LogList
from three_pillar_demo.web.panels import Panel
from three_pillar_demo.web.request_list import RequestList
from three_pillar_demo.web.service_charts import charted_services, service_panels
from three_pillar_demo.web.services import ServiceRows, classes_of, overview_rows
from three_pillar_demo.web.view_state import MAX_SERVICE_NAME, ViewState

MAX_CHOICES = 200
"""The number of services that a filter offers."""


@dataclass(frozen=True)
class ServicesOverview:
    """The services of a start page.

    Attributes:
        rows: Their list, or a part of it.
        classes: The CSS class of each service, by name.
        panels: The charts of rate, error ratio and durations; empty without any service.
    """

    rows: ServiceRows
    classes: Mapping[str, str]
    panels: Sequence[Panel]


async def query_overview(
    data: PageData, state: ViewState, shop: Sequence[str] = (), own_trace_id: str = ""
) -> ServicesOverview:
    """Return the services over the minutes of ``state``; those of the ``shop`` have charts.

    ``own_trace_id`` is the trace id of the visitor's purchase, or "".
    """
    services = await data.services(state.minutes)
    classes = classes_of(services, shop)
    charted = charted_services(services.value or [], shop)
    panels = await service_panels(data, state, charted, classes, own_trace_id) if charted else []
    return ServicesOverview(overview_rows(services, state), classes, panels)


def choices(
    services: ServicesOverview, requests: RequestList, logs: LogList, state: ViewState
) -> list[str]:
    """Return the names that a filter offers: all that the page shows, sorted.

    Requests and log records may be older than the figures of the services.
    """
    names = {*services.classes, state.service}
    names |= {row.span.service for row in requests.value or []}
    names |= {record.service for record in logs.value or []}
    allowed = [name for name in names if 0 < len(name) <= MAX_SERVICE_NAME and name.isprintable()]
    return sorted(allowed)[:MAX_CHOICES]
