"""Links into Grafana, where it runs: the same trace, logs and metrics of one request."""

import json
from collections.abc import Mapping
from urllib.parse import urlencode

DURATION_PANEL = 12
"""The id of the panel Duration on the dashboard ``checkout``; a test compares it."""
EXPLORE_MARGIN_MS = 3_600_000
"""Milliseconds that Explore shows before and after a request."""
DASHBOARD_MARGIN_MS = 150_000
"""Milliseconds that a dashboard shows before and after a request."""


def links(trace_id: str, start: float, end: float) -> list[tuple[str, str]]:
    """Return the names and paths of the links for one request.

    Args:
        trace_id: 32 hex digits, so that it cannot end the query that it is put into.
        start: When the request began, in seconds since the epoch.
        end: When it ended.
    """
    traceql = {"queryType": "traceql", "query": trace_id}
    logql = {"queryType": "range", "expr": f'{{service_name=~".+"}} | trace_id="{trace_id}"'}
    time_range = _time_range(start, end, DASHBOARD_MARGIN_MS)
    duration_query = {**time_range, "viewPanel": f"panel-{DURATION_PANEL}"}
    request_query = {"var-trace_id": trace_id, **time_range}
    return [
        ("Trace in Tempo", explore_path("tempo", traceql, start, end)),
        ("Logs in Loki", explore_path("loki", logql, start, end)),
        ("Duration panel", f"/d/checkout?{urlencode(duration_query)}"),
        ("One request dashboard", f"/d/one-request?{urlencode(request_query)}"),
    ]


def explore_path(datasource: str, query: Mapping[str, object], start: float, end: float) -> str:
    """Return the path of an Explore pane that runs ``query`` around a request."""
    full_query = {"refId": "A", "datasource": {"type": datasource, "uid": datasource}, **query}
    time_range = _time_range(start, end, EXPLORE_MARGIN_MS)
    pane = {
        "datasource": datasource,
        "queries": [full_query],
        "range": {name: str(value) for name, value in time_range.items()},
    }
    parameters = {"schemaVersion": 1, "orgId": 1, "panes": json.dumps({"web": pane})}
    return f"/explore?{urlencode(parameters)}"


def _time_range(start: float, end: float, margin_ms: int) -> dict[str, int]:
    """Return Grafana's time range parameters, in milliseconds since the epoch."""
    return {"from": int(start * 1000) - margin_ms, "to": int(end * 1000) + margin_ms}
