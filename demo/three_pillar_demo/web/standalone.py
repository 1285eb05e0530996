"""The page of one request as one HTML file, which needs no server, no script and no network."""

import asyncio
import base64
import hashlib
import time

from markupsafe import Markup

from three_pillar_demo.query.interface import NANO, BackendError, Backends
from three_pillar_demo.trace_view.view import TraceView
from three_pillar_demo.web import context_panel, waterfall
from three_pillar_demo.web.cache import QueryResult
from three_pillar_demo.web.element_ids import UniqueIds
from three_pillar_demo.web.page_templates import WEB_FOLDER, templates
from three_pillar_demo.web.panels import Panel
from three_pillar_demo.web.trace_page import trace_page
from three_pillar_demo.web.waterfall_row import Limits

LIMITS = Limits(rows=20_000, attributes=1_000, text=20_000, all_texts=5_000_000)
"""How much of a trace is in the file; a row takes about two kilobytes."""
MAX_VALUE = 20_000
"""The number of characters of an attribute's value in the file: enough for a stack trace."""
TIME_FORMAT = "%Y-%m-%d %H:%M:%S %z"


async def request_file(backends: Backends, view: TraceView) -> str:
    """Return the HTML of the file: the page of a request without what needs the server.

    The chart of the durations around the request is left out if the service has no such metrics.
    If they cannot be queried, the chart says so.
    """
    panel = await _panel(backends, view)
    return await asyncio.to_thread(_render, view, panel)


async def _panel(backends: Backends, view: TraceView) -> Panel | None:
    root = context_panel.charted_root(view)
    if root is None:
        return None
    try:
        result = QueryResult(await context_panel.query(backends, root))
    except BackendError as error:
        result = QueryResult(error=str(error))
    panel = context_panel.panel(view, root, result)
    return None if panel.plot.empty and not panel.error else panel


def _render(view: TraceView, panel: Panel | None) -> str:
    # The browser computes the hash over the text between the tags.
    style_sheet = (WEB_FOLDER / "static" / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style_sheet.encode()).digest()).decode()
    page = trace_page(view, [], LIMITS)
    start, end = (nanoseconds / NANO for nanoseconds in waterfall.extent(view))
    return (
        templates()
        .get_template("standalone.html")
        .render(
            standalone=True,
            unique_id=UniqueIds().next,
            max_value=MAX_VALUE,
            content_security_policy=f"default-src 'none'; style-src 'sha256-{digest}'; "
            "base-uri 'none'; form-action 'none'",
            style_sheet=Markup(style_sheet),  # noqa: S704  (a file of this package)
            started_at=_local_time(start),
            saved_at=_local_time(time.time()),
            time_zone=time.strftime("%Z (UTC%z)"),
            state=None,
            trace_state=None,
            is_finished=False,
            page=page,
            trace=page.view,
            error="",
            root=context_panel.root_span(page.view),
            axis_ticks=waterfall.axis_ticks(end - start),
            context_panel=panel,
            comparison=None,
            comparison_error="",
            tour_step=0,
        )
    )


def _local_time(timestamp: float) -> str:
    return time.strftime(TIME_FORMAT, time.localtime(timestamp))
