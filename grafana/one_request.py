"""*One request*: its trace, its log lines of both services, and where its duration lies among its route's."""

from grafana_foundation_sdk.builders import dashboard as build

from grafana.checkout import NEWEST, columns
from grafana.parts import (
    GREEN,
    ORANGE,
    RED,
    bars,
    buckets,
    dashboard,
    heat,
    lines,
    logql,
    rows,
    steps,
    trace,
    traceql,
)

LINES = '{service_namespace="shop"} | trace_id=~"0*${trace_id}" | trace_id!=""'
"""Tempo's search drops an id's leading zeros; Loki has them."""
DURATION = "unwrap http_server_request_duration"
ROUTE = '{service_name="checkout"} | http_route="/checkout"'


def one_request() -> build.Dashboard:
    """Everything there is about one request."""
    return (
        dashboard(
            "one-request",
            "One request",
            "One request through traces, logs and metrics: give a trace id, or pick a purchase.",
        )
        .with_variable(
            build.TextBoxVariable("trace_id")
            .label("Trace id")
            .description(
                "From an answer's trace_id, its traceresponse header, a log line or an exemplar."
            )
            .default_value("")
        )
        .with_panel(
            trace(
                "Its trace",
                "Every span of the request, in both services; a span's links lead to its lines and to its route's metrics.",
                traceql("${trace_id}"),
                (24, 12),
            )
        )
        .with_panel(
            lines(
                "Its log lines",
                "What both services said about this request, newest first.",
                logql(LINES),
                (14, 8),
            )
        )
        .with_panel(
            bars(
                "How long it took, and what is usual",
                "This request's duration in each service, and where it lies among the checkouts of the time shown.",
                {
                    f"this request, {service}": logql(
                        f'max(max_over_time({LINES} | service_name="{service}" | {DURATION} [$__range]))',
                        kind="instant",
                    )
                    for service in ("checkout", "payment")
                }
                | {
                    f"checkouts, p{round(quantile * 100)}": logql(
                        f"quantile_over_time({quantile}, {ROUTE} | {DURATION} [$__range]) by (service_name)",
                        kind="instant",
                    )
                    for quantile in (0.5, 0.95, 0.99)
                },
                (10, 8),
                steps(GREEN, (0.75, ORANGE), (1, RED)),
            )
        )
        .with_panel(
            heat(
                "The durations of its route",
                "How many checkouts took how long; a dot is one request and leads to its trace.",
                buckets(
                    "sum by (le) (increase(http_server_request_duration_seconds_bucket"
                    '{service_name="checkout", http_route="/checkout"}[$__rate_interval]))'
                ),
                (14, 9),
            )
        )
        .with_panel(
            rows(
                "Newest purchases",
                "Pick one by its Outcome to see it on this page.",
                traceql("{ span.order.outcome != nil } | select(span.order.outcome)" + NEWEST),
                (10, 9),
                columns(145),
            )
        )
    )
