"""The ways into Grafana, where it runs: the same trace, the same lines, the same panel. Addresses for a browser."""

import json
from urllib.parse import urlencode

DURATION_PANEL, MARGIN = 12, 3_600_000
"""The panel of the dashboard ``checkout``, as a test compares; milliseconds on either side of a request."""


def explore(store: str, query: dict[str, object], start: float, end: float) -> str:
    """An Explore pane that asks ``store``, between two times in seconds since the epoch, with room on either side."""
    asked = {"refId": "A", "datasource": {"type": store, "uid": store}, **query}
    between = {"from": str(int(start * 1000) - MARGIN), "to": str(int(end * 1000) + MARGIN)}
    panes = {"web": {"datasource": store, "queries": [asked], "range": between}}
    return "/explore?" + urlencode({"schemaVersion": 1, "orgId": 1, "panes": json.dumps(panes)})


def ways(trace_id: str, start: float, end: float) -> list[tuple[str, str]]:
    """Names and paths of one request's ways into Grafana; ``trace_id`` is 32 hex digits, so it ends no query."""
    lines = f'{{service_name=~".+"}} | trace_id="{trace_id}"'
    between = {"from": int(start * 1000) - 150_000, "to": int(end * 1000) + 150_000}
    return [
        (
            "its trace in Tempo",
            explore("tempo", {"queryType": "traceql", "query": trace_id}, start, end),
        ),
        ("its lines in Loki", explore("loki", {"queryType": "range", "expr": lines}, start, end)),
        (
            "the panel Duration",
            "/d/checkout?" + urlencode({**between, "viewPanel": f"panel-{DURATION_PANEL}"}),
        ),
        (
            "all about this request",
            "/d/one-request?" + urlencode({"var-trace_id": trace_id, **between}),
        ),
    ]
