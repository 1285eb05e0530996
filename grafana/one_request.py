"""The dashboard *One request*: its trace, its log records, and its duration next to others."""

from grafana_foundation_sdk.builders import dashboard as build

from grafana.checkout import NEWEST, columns
from grafana.parts import (
    GREEN,
    ORANGE,
    RED,
    bars,
    buckets,
    dashboard,
    heat_map,
    log_records,
    logql,
    table_of,
    thresholds,
    trace_panel,
    traceql,
)

LINES = '{service_namespace="shop"} | trace_id=~"0*${trace_id}" | trace_id!=""'
"""A LogQL query of the log records of the chosen trace. ``0*`` is there because Tempo's search
drops the leading zeros of a trace id, while Loki keeps them."""
DURATION = "unwrap http_server_request_duration"
ROUTE = '{service_name="checkout"} | http_route="/checkout"'


def one_request() -> build.Dashboard:
    """Return the dashboard of the request whose trace id the viewer enters."""
    return (
        dashboard(
            "one-request",
            "One request",
            "One request in traces, logs and metrics: enter a trace id, or choose a purchase.",
        )
        .with_variable(
            build.TextBoxVariable("trace_id")
            .label("Trace id")
            .description(
                "From the field trace_id of an answer, its traceresponse header, a log record"
                " or an exemplar."
            )
            .default_value("")
        )
        .with_panel(
            trace_panel(
                "Trace",
                (
                    "Every span of the request in both services; the links of a span lead to logs"
                    " and metrics."
                ),
                traceql("${trace_id}"),
                (24, 12),
            )
        )
        .with_panel(
            log_records(
                "Logs",
                "The log records of both services for this request, newest first.",
                logql(LINES),
                (14, 8),
            )
        )
        .with_panel(
            bars(
                "Duration and percentiles",
                (
                    "The duration of this request in each service, and percentiles of all"
                    " checkouts in the time range."
                ),
                {
                    f"this request, {service}": logql(
                        (
                            f'max(max_over_time({LINES} | service_name="{service}" | {DURATION}'
                            f" [$__range]))"
                        ),
                        kind="instant",
                    )
                    for service in ("checkout", "payment")
                }
                | {
                    f"checkouts, p{round(quantile * 100)}": logql(
                        (
                            f"quantile_over_time({quantile}, {ROUTE} | {DURATION} [$__range]) by"
                            f" (service_name)"
                        ),
                        kind="instant",
                    )
                    for quantile in (0.5, 0.95, 0.99)
                },
                (10, 8),
                thresholds(GREEN, (0.75, ORANGE), (1, RED)),
            )
        )
        .with_panel(
            heat_map(
                "Duration distribution of /checkout",
                "The number of checkouts by duration; a dot is an exemplar and leads to its trace.",
                buckets(
                    "sum by (le) (increase(http_server_request_duration_seconds_bucket"
                    '{service_name="checkout", http_route="/checkout"}[$__rate_interval]))'
                ),
                (14, 9),
            )
        )
        .with_panel(
            table_of(
                "Newest purchases",
                "The newest purchases whose trace is stored; an outcome shows its purchase here.",
                traceql("{ span.order.outcome != nil } | select(span.order.outcome)" + NEWEST),
                (10, 9),
                columns(145),
            )
        )
    )
