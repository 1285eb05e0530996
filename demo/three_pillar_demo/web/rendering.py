"""Renders a template as a page, with what all pages show: alerts, the drill and the mode."""

import time
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.responses import HTMLResponse

from three_pillar_demo.query import connect
from three_pillar_demo.web.alert_inbox.alerts import FiringAlerts
from three_pillar_demo.web.alert_inbox.drill_view import current_drill
from three_pillar_demo.web.data import PageData
from three_pillar_demo.web.drill_marks import drill_marks
from three_pillar_demo.web.element_ids import UniqueIds
from three_pillar_demo.web.page_templates import templates

MAX_COMPONENTS = 12
"""The number of components up to which the status bar lists those that are up."""


class Render(Protocol):
    """Renders a template as a page of the web UI."""

    def __call__(self, template: str, status: int = 200, **context: Any) -> HTMLResponse:  # noqa: ANN401  (any value that a template shows)
        """Return the page."""


@dataclass(frozen=True)
class Renderer:
    """Renders all pages of one process.

    Attributes:
        data: The data of the pages.
        firing_alerts: The alerts that are shown on every page.
        grafana_url: The URL of Grafana for a browser.
    """

    data: PageData
    firing_alerts: FiringAlerts
    grafana_url: str

    def __call__(self, template: str, status: int = 200, **context: Any) -> HTMLResponse:  # noqa: ANN401  (any value that a template shows)
        """Return the page that ``template`` makes of ``context`` and of what all pages show.

        While a drill runs no page shows a step of the tour, which is about another failure.
        """
        drill = current_drill(self.data.mode)
        if drill and not drill.verdict:
            context["tour_step"] = 0
        html = (
            templates()
            .get_template(template)
            .render(
                {"is_overview": False, **context},
                alerts=self.firing_alerts.list(),
                drill=drill,
                drill_marks=drill_marks(self.data.mode),
                problem_since=self.data.problem_since,
                mode=self.data.mode,
                max_components=MAX_COMPONENTS,
                samples_traces=connect.samples_traces(),
                grafana_url=self.grafana_url,
                request_search_limit=self.data.backends.request_search_limit,
                unique_id=UniqueIds().next,
                rendered_at=time.time(),
            )
        )
        return HTMLResponse(html, status)
