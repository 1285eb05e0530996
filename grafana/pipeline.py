"""*Pipeline*: can the telemetry itself be trusted."""

from grafana_foundation_sdk.builders import dashboard as build

from grafana.parts import BLUE, GREEN, ORANGE, RED, course, dashboard, logql, number, promql, steps

SIGNALS = {"traces": "spans", "logs": "log_records", "metrics": "metric_points"}
COLOURS = {"(^spans|tempo|^traces)": "purple", "(^log|loki)": ORANGE, "(^metric|prometheus)": BLUE}
STORE = 'label_replace({}, "store", "$1", "exporter", ".*/(.*)")'
"""An exporter is named otlp_http/loki; the store is what comes after the slash."""


def rates(metric: str) -> str:
    """``metric`` a second, for all three signals together; 0 when it has never happened."""
    each = (
        f"sum(rate({metric.format(kind)}[$__rate_interval])) or vector(0)"
        for kind in SIGNALS.values()
    )
    return " + ".join(f"({one})" for one in each)


def by_signal(metric: str) -> list[tuple[str, str]]:
    """For each signal its question and its name in the legend."""
    return [
        (f"sum(rate({metric.format(kind)}[$__rate_interval])) or vector(0)", kind.replace("_", " "))
        for kind in SIGNALS.values()
    ]


def pipeline() -> build.Dashboard:
    """The Collector between services and stores."""
    return (
        dashboard(
            "pipeline",
            "Pipeline",
            "Can the telemetry itself be trusted: what came in, what went out, what waits, what was lost.",
        )
        .with_row(build.Row("Is anything lost?"))
        .with_panel(
            number(
                "Refused",
                "Items a second the Collector would not take; the services keep them and try again.",
                promql(rates("otelcol_receiver_refused_{}_total")),
                "cps",
                steps(GREEN, (0.001, ORANGE), (10, RED)),
            )
        )
        .with_panel(
            number(
                "Lost",
                "Items a second a store would not take for good; these are lost.",
                promql(rates("otelcol_exporter_send_failed_{}_total")),
                "cps",
                steps(GREEN, (0.001, RED)),
            )
        )
        .with_panel(
            number(
                "No room",
                "Items a second that found the queue full; the services are asked to try again.",
                promql(rates("otelcol_exporter_enqueue_failed_{}_total")),
                "cps",
                steps(GREEN, (0.001, RED)),
            )
        )
        .with_panel(
            number(
                "Queue",
                "How full the fullest of the three queues on disk is; a full one refuses what comes.",
                promql(
                    "max(otelcol_exporter_queue_size / otelcol_exporter_queue_capacity) or vector(0)"
                ),
                "percentunit",
                steps(GREEN, (0.5, ORANGE), (0.7, RED)),
                decimals=1,
            )
        )
        .with_panel(
            number(
                "Collector",
                "How long ago the Collector last said something about itself; it does every 5 s.",
                promql("time() - max(timestamp(otelcol_process_uptime_seconds_total))"),
                "s",
                steps(GREEN, (20, ORANGE), (60, RED)),
                decimals=0,
            )
        )
        .with_panel(
            number(
                "Services",
                "How long ago the more silent of the services last sent metrics; each does every second.",
                promql(
                    "time() - min(max by (service_name) (timestamp(http_server_active_requests)))"
                ),
                "s",
                steps(GREEN, (20, ORANGE), (60, RED)),
                decimals=0,
            )
        )
        .with_row(build.Row("Do all three pillars tell of the same requests?"))
        .with_panel(
            course(
                "Requests, as each pillar counts them",
                "Requests from metrics, spans and log lines; lines that part mean that a pillar loses something.",
                [
                    promql(
                        'sum(rate(http_server_request_duration_seconds_count{service_namespace="shop"}[1m]))',
                        "metrics",
                    ),
                    promql(
                        'sum(rate(traces_spanmetrics_calls_total{span_kind="SPAN_KIND_SERVER"}[1m]))',
                        "traces",
                    ),
                    logql(
                        'sum(rate({service_namespace="shop"} | http_response_status_code!="" [1m]))',
                        "logs",
                    ),
                ],
                "reqps",
                size=(24, 7),
                colours={"^traces": "purple", "^logs": ORANGE, "^metrics": BLUE},
            )
        )
        .with_row(build.Row("Through the Collector"))
        .with_panel(
            course(
                "Received",
                "What the services hand to the Collector, by signal.",
                [promql(*each) for each in by_signal("otelcol_receiver_accepted_{}_total")],
                "cps",
                colours=COLOURS,
            )
        )
        .with_panel(
            course(
                "Taken in by the stores",
                "What each store confirmed; over time as much as was received.",
                [promql(*each) for each in by_signal("otelcol_exporter_sent_{}_total")],
                "cps",
                colours=COLOURS,
            )
        )
        .with_panel(
            course(
                "Requests on their way",
                "What is being sent at this moment; one that stays while its queue grows is being tried again and again.",
                [
                    promql(
                        f"sum by (store) ({STORE.format('otelcol_exporter_in_flight_requests')})",
                        "{{store}}",
                    )
                ],
                "short",
                colours=COLOURS,
            )
        )
        .with_row(build.Row("What waits, and what it costs"))
        .with_panel(
            course(
                "Waiting in the queues",
                "What a store has not taken yet; it is on disk and goes out when the store is back.",
                [
                    promql(
                        f"sum by (store) ({STORE.format('otelcol_exporter_queue_size')})",
                        "{{store}}",
                    )
                ],
                "bytes",
                colours=COLOURS,
            )
        )
        .with_panel(
            course(
                "Room in the queues",
                "How full each queue is; at the red line there is an alert.",
                [
                    promql(
                        f"max by (store) ({STORE.format('otelcol_exporter_queue_size / otelcol_exporter_queue_capacity')})",
                        "{{store}}",
                    )
                ],
                "percentunit",
                limits=steps(GREEN, (0.7, RED)),
                colours=COLOURS,
            )
        )
        .with_panel(
            course(
                "The Collector's memory",
                "What the process holds; above 320 MiB of heap it asks the services to wait, at 400 MiB it refuses.",
                [
                    promql("max(otelcol_process_memory_rss_bytes)", "process"),
                    promql("max(otelcol_process_runtime_heap_alloc_bytes)", "heap"),
                ],
                "bytes",
                limits=steps(GREEN, (320 * 2**20, ORANGE), (400 * 2**20, RED)),
                colours={"^process": BLUE, "^heap": "purple"},
            )
        )
    )
