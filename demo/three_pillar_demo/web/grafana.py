"""Links into Grafana: to the trace, the logs and the metrics of one request."""

import json
from collections.abc import Mapping
from urllib.parse import urlencode

DURATION_PANEL = 12
"""The id of the panel "Duration" on Grafana's dashboard ``checkout``."""
EXPLORE_MARGIN_MS = 3_600_000
"""The time before and after a request that Explore shows, in milliseconds."""
DASHBOARD_MARGIN_MS = 150_000
"""The time before and after a request that a dashboard shows, in milliseconds."""


def links(trace_id: str, start: float, end: float) -> list[tuple[str, str]]:
    """Return the links for one request, each as its text and its path on Grafana.

    Args:
        trace_id: The trace id of the request. It must be valid, because queries do not escape it.
        start: When the request began, in seconds since the epoch.
        end: When the request ended, in seconds since the epoch.
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
    """Return the path of Grafana's page Explore with ``query``, over the time around a request.

    ``start`` and ``end`` are those of the request, in seconds since the epoch.
    """
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
