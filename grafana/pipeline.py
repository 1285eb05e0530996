"""The dashboard *Pipeline*: is telemetry lost, refused or late on its way to the backends?"""

from grafana_foundation_sdk.builders import dashboard as build

from grafana.parts import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    FinishedPanel,
    dashboard,
    logql,
    number,
    promql,
    thresholds,
    time_series,
    with_rows,
)

SIGNALS = {"traces": "spans", "logs": "log_records", "metrics": "metric_points"}
COLOURS = {"(^spans|tempo|^traces)": "purple", "(^log|loki)": ORANGE, "(^metric|prometheus)": BLUE}
QUEUE_USAGE = "otelcol_exporter_queue_size / otelcol_exporter_queue_capacity"
STORE = 'label_replace({}, "store", "$1", "exporter", ".*/(.*)")'
"""PromQL that adds the label ``store`` to a metric of the Collector: the part after the slash of
its label ``exporter``, such as ``loki`` in ``otlp_http/loki``."""
ACCEPTED = "rate(otelcol_receiver_accepted_KIND_total[$__rate_interval])"
RECEIVED = (
    f"sum({ACCEPTED} and on (instance) otelcol_loadbalancer_num_backends)"
    f" or sum({ACCEPTED}) or vector(0)"
)
"""PromQL of the items per second that the services send. Of two tiers of Collectors it counts the
agents, which alone have the second metric: a gateway receives the same items again."""
EXPORTED = (
    'sum(rate(otelcol_exporter_sent_KIND_total{exporter!~"load_balancing/.*"}[$__rate_interval]))'
    " or vector(0)"
)
"""PromQL of the items per second that the backends accept. It leaves out what agents send to
gateways."""


def rates(metric: str) -> str:
    """Return a query of the items per second of all three signals together.

    ``metric`` is a counter name with ``{}`` for the kind of item. A counter that does not exist is
    counted as 0.
    """
    rates_by_signal = (
        f"sum(rate({metric.format(kind)}[$__rate_interval])) or vector(0)"
        for kind in SIGNALS.values()
    )
    return " + ".join(f"({rate})" for rate in rates_by_signal)


def by_signal(query: str) -> list[tuple[str, str]]:
    """Return a query and its legend for each signal.

    ``query`` is PromQL with ``KIND`` for the kind of item, such as ``spans``.
    """
    return [(query.replace("KIND", kind), kind.replace("_", " ")) for kind in SIGNALS.values()]


def losses() -> list[FinishedPanel]:
    """Return the panels that show whether telemetry is lost, refused or late."""
    return [
        number(
            "Refused",
            "Items per second that the Collector refused; the services keep and resend them.",
            promql(rates("otelcol_receiver_refused_{}_total")),
            "cps",
            thresholds(GREEN, (0.001, ORANGE), (10, RED)),
        ),
        number(
            "Dropped",
            "Items per second that a backend refused permanently; these are lost.",
            promql(rates("otelcol_exporter_send_failed_{}_total")),
            "cps",
            thresholds(GREEN, (0.001, RED)),
        ),
        number(
            "Queue full",
            "Items per second that did not fit into a queue; the services are told to retry.",
            promql(rates("otelcol_exporter_enqueue_failed_{}_total")),
            "cps",
            thresholds(GREEN, (0.001, RED)),
        ),
        number(
            "Queue usage",
            "The usage of the fullest of the three queues on disk; a full queue refuses new items.",
            promql(f"max({QUEUE_USAGE}) or vector(0)"),
            "percentunit",
            thresholds(GREEN, (0.5, ORANGE), (0.7, RED)),
            decimals=1,
        ),
        number(
            "Collector",
            (
                "The time since the Collector, or the latest of several, sent its own metrics, as"
                " it does every 5 s."
            ),
            promql("time() - max(timestamp(otelcol_process_uptime_seconds_total))"),
            "s",
            thresholds(GREEN, (20, ORANGE), (60, RED)),
            decimals=0,
        ),
        number(
            "Services",
            (
                "The time since the last metrics of the service that sent least recently; 1 s is"
                " normal."
            ),
            promql("time() - min(max by (service_name) (timestamp(http_server_active_requests)))"),
            "s",
            thresholds(GREEN, (20, ORANGE), (60, RED)),
            decimals=0,
        ),
    ]


def agreement() -> list[FinishedPanel]:
    """Return the panel that compares the request rates of metrics, spans and log records."""
    return [
        time_series(
            "Requests by pillar",
            (
                "Requests from metrics, stored spans and log records; if lines diverge, a pillar"
                " loses items, or traces are sampled."
            ),
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
        ),
    ]


def throughput() -> list[FinishedPanel]:
    """Return the panels of the items that the Collector receives and exports per second."""
    return [
        time_series(
            "Received",
            "Items that the Collector received from the services, by signal.",
            [promql(query, legend) for query, legend in by_signal(RECEIVED)],
            "cps",
            colours=COLOURS,
        ),
        time_series(
            "Exported",
            (
                "Items that the backends confirmed, by signal; as many as were received, except"
                " spans that are sampled out."
            ),
            [promql(query, legend) for query, legend in by_signal(EXPORTED)],
            "cps",
            colours=COLOURS,
        ),
        time_series(
            "Requests in flight",
            "Export requests without an answer; with a growing queue, they are being retried.",
            [
                promql(
                    f"sum by (store) ({STORE.format('otelcol_exporter_in_flight_requests')})",
                    "{{store}}",
                )
            ],
            "short",
            colours=COLOURS,
        ),
    ]


def queues() -> list[FinishedPanel]:
    """Return the panels of the Collector's queues on disk and of its memory."""
    return [
        time_series(
            "Queue size",
            (
                "Data that a backend has not accepted yet; it is on disk and is sent when the"
                " backend is back."
            ),
            [
                promql(
                    f"sum by (store) ({STORE.format('otelcol_exporter_queue_size')})",
                    "{{store}}",
                )
            ],
            "bytes",
            colours=COLOURS,
        ),
        time_series(
            "Queue usage by backend",
            "The used share of each queue; there is an alert at the red line.",
            [
                promql(
                    f"max by (store) ({STORE.format(QUEUE_USAGE)})",
                    "{{store}}",
                )
            ],
            "percentunit",
            limits=thresholds(GREEN, (0.7, RED)),
            colours=COLOURS,
        ),
        time_series(
            "Collector memory",
            (
                "Memory of the largest Collector; above 320 MiB of heap it asks senders to wait, at"
                " 400 it refuses."
            ),
            [
                promql("max(otelcol_process_memory_rss_bytes)", "process"),
                promql("max(otelcol_process_runtime_heap_alloc_bytes)", "heap"),
            ],
            "bytes",
            limits=thresholds(GREEN, (320 * 2**20, ORANGE), (400 * 2**20, RED)),
            colours={"^process": BLUE, "^heap": "purple"},
        ),
    ]


def pipeline() -> build.Dashboard:
    """Return the dashboard of the Collector, which passes telemetry from services to backends."""
    board = dashboard(
        "pipeline",
        "Pipeline",
        "Can the telemetry be trusted: what was received, exported, queued and dropped.",
    )
    return with_rows(
        board,
        [
            ("Is anything lost?", losses()),
            ("Do all three pillars count the same requests?", agreement()),
            ("Throughput", throughput()),
            ("Queues and memory", queues()),
        ],
    )
