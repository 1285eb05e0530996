"""The dashboard *Checkout*: is something wrong, in which service and request, and why?"""

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models.dashboard import VariableOption, VariableRefresh

from grafana.parts import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PROMETHEUS,
    RED,
    FinishedPanel,
    Properties,
    dashboard,
    log_records,
    logql,
    node_graph,
    number,
    promql,
    promql_instant,
    service_graph,
    table_of,
    thresholds,
    time_series,
    traceql,
    with_rows,
)

REQUESTS = "http_server_request_duration_seconds_count"
BUCKETS = "http_server_request_duration_seconds_bucket"
WHERE = 'service_name=~"$service"'
FAILED = 'http_response_status_code=~"5.."'
CUSTOMER = 'service_name="checkout", http_route="/checkout"'

QUANTILES = (0.5, 0.95, 0.99)
QUANTILE_COLOURS = {
    f"^{service}.*p{quantile}$": f"{shade}{colour}"
    for service, colour in (("checkout", "blue"), ("payment", "purple"))
    for quantile, shade in ((50, "super-light-"), (95, ""), (99, "dark-"))
}

FAILED_PURCHASES = "{ span.order.outcome != nil && status = error } | select(span.order.outcome)"
NEWEST = " with (most_recent=true)"
OUTCOMES = {
    "^success$": GREEN,
    "^declined$": BLUE,
    "^invalid$": GREY,
    "^gateway_timeout$": RED,
    "^payment_slow$": ORANGE,
    "^payment_crashed$": "dark-red",
    "^payment_(unreachable|busy)$": "purple",
    "^(crashed|abandoned)$": "dark-purple",
}


def rate_by_route(*matchers: str) -> str:
    """Return a query of the requests per second, by service and route.

    It covers the services that the viewer chose; ``matchers`` are further PromQL label matchers.
    """
    selector = ", ".join([WHERE, *matchers])
    return f"sum by (service_name, http_route) (rate({REQUESTS}{{{selector}}}[$__rate_interval]))"


def columns(width: int) -> dict[str, Properties]:
    """Return the column properties of a table of purchases, by column name.

    ``width`` is the width of the trace id column in pixels.
    """
    one_request = "/d/one-request?var-trace_id=${__data.fields.traceIdHidden}&${__url_time_range}"
    return {
        # The link needs these columns; readers do not.
        **{
            name: {"custom.hidden": True}
            for name in (
                "traceIdHidden",
                "Trace Service",
                "Trace Name",
                "Name",
                "Service",
                "status",
            )
        },
        "spanID": {"displayName": "Trace", "custom.width": width},
        "Start time": {"displayName": "Time", "unit": "time:HH:mm:ss", "custom.width": 90},
        "Duration": {"unit": "ns", "decimals": 0},
        "order.outcome": {
            "displayName": "Outcome",
            "custom.width": 140,
            "links": [{"title": "Open this request", "url": one_request}],
        },
    }


def overview() -> list[FinishedPanel]:
    """Return the panels that show whether something is wrong."""
    return [
        number(
            "Checkouts",
            "Requests for a checkout per second, whatever their outcome.",
            promql(f"sum(rate({REQUESTS}{{{CUSTOMER}}}[$__rate_interval])) or vector(0)"),
            "reqps",
            thresholds(BLUE),
            decimals=1,
        ),
        number(
            "5xx ratio",
            "The share of checkouts that are answered with a server error (5xx), now.",
            promql(
                f"sum(rate({REQUESTS}{{{CUSTOMER}, {FAILED}}}[$__rate_interval]))"
                f" / sum(rate({REQUESTS}{{{CUSTOMER}}}[$__rate_interval])) >= 0 or vector(0)"
            ),
            "percentunit",
            thresholds(GREEN, (0.01, ORANGE), (0.05, RED)),
            decimals=1,
        ),
        number(
            "p95",
            "The time within which 95 % of the checkouts are answered.",
            promql(
                f"histogram_quantile(0.95, sum by (le)"
                f" (rate({BUCKETS}{{{CUSTOMER}}}[$__rate_interval]))) >= 0 or vector(0)"
            ),
            "s",
            thresholds(GREEN, (0.75, ORANGE), (1, RED)),
            decimals=0,
        ),
        number(
            "Failed",
            "Checkouts answered with a server error (5xx) in the time range.",
            promql_instant(
                f"round(sum(increase({REQUESTS}{{{CUSTOMER}, {FAILED}}}[$__range]))) or vector(0)"
            ),
            "short",
            thresholds(GREEN, (1, RED)),
            decimals=0,
        ),
        number(
            "Declined",
            "Purchases that the bank declined in the time range: an expected outcome.",
            promql_instant(
                f"round(sum(increase({REQUESTS}{{{CUSTOMER},"
                f' http_response_status_code="402"}}[$__range]))) or vector(0)'
            ),
            "short",
            thresholds(BLUE),
            decimals=0,
        ),
        number(
            "Active",
            "Requests that both services are working on now; if this only grows, something hangs.",
            promql('sum(http_server_active_requests{service_namespace="shop"}) or vector(0)'),
            "short",
            thresholds(GREEN, (50, ORANGE), (200, RED)),
            decimals=0,
        ),
    ]


def by_service() -> list[FinishedPanel]:
    """Return the panels that show in which service and route something is wrong."""
    return [
        time_series(
            "Requests per second",
            "Requests by service and route; `unmatched` stands for all paths without a route.",
            [
                promql(
                    rate_by_route(),
                    "{{service_name}} {{http_route}}",
                )
            ],
            "reqps",
            colours={"^checkout": BLUE, "^payment": "purple"},
        ),
        time_series(
            "Error ratio",
            (
                "The share answered with 5xx, and what the objective tolerates; if both rise,"
                " payment is the cause."
            ),
            [
                promql(
                    f"{rate_by_route(FAILED)} / {rate_by_route()} or 0 * {rate_by_route()}",
                    "{{service_name}} {{http_route}}",
                ),
                promql('max(slo:error_budget:ratio{slo="availability"})', "tolerated"),
            ],
            "percentunit",
            colours={"^checkout": BLUE, "^payment": "purple", "^tolerated$": RED},
            dashed=["^tolerated$"],
        ),
        time_series(
            "Outcomes",
            (
                "The outcome of each checkout, counted from log records; declined and invalid are"
                " not faults."
            ),
            [
                logql(
                    'sum by (outcome) (count_over_time({service_name="checkout"}'
                    ' | http_route="/checkout" | outcome!="" [$__auto]))',
                    "{{outcome}}",
                )
            ],
            "short",
            colours=OUTCOMES,
            stacked=True,
        ),
        time_series(
            "Duration",
            (
                "The duration of requests; a dot is an exemplar and leads to its trace and its log"
                " records."
            ),
            [
                promql(
                    f"histogram_quantile({quantile}, sum by (le, service_name, http_route)"
                    f' (rate({BUCKETS}{{{WHERE}, http_route!=""}}[$__rate_interval])))',
                    f"{{{{service_name}}}} {{{{http_route}}}} p{round(quantile * 100)}",
                    exemplars=quantile == max(QUANTILES),
                )
                for quantile in QUANTILES
            ],
            "s",
            size=(14, 10),
            limits=thresholds(GREEN, (1, RED)),
            colours=QUANTILE_COLOURS,
            fill=0,
        ),
        node_graph(
            "Service graph",
            (
                "The calls in the traces that are stored: duration, rate, and in red the share of"
                " failed calls."
            ),
            service_graph(),
            (10, 10),
        ),
    ]


def failures() -> list[FinishedPanel]:
    """Return the panels that lead to a failed request and the reason of its failure."""
    return [
        table_of(
            "Newest failed purchases",
            (
                "Purchases with error status; Trace opens the trace, Outcome opens the dashboard"
                " One request."
            ),
            traceql(FAILED_PURCHASES + NEWEST),
            (10, 11),
            columns(145),
        ),
        log_records(
            "Error logs",
            "Log records with severity ERROR, newest first; an opened record shows its links.",
            logql(f'{{service_namespace="shop", {WHERE}}} | severity_text="ERROR"'),
            (14, 11),
        ),
    ]


def checkout() -> build.Dashboard:
    """Return the dashboard of the checkout service from its customers' point of view."""
    board = dashboard(
        "checkout",
        "Checkout",
        "Is something wrong, where, in which request, and why: rate, errors and duration.",
    ).with_variable(
        build.QueryVariable("service")
        .label("Service")
        .description("Narrows the panels under 'Where?' and 'Why?' to one service.")
        .datasource(PROMETHEUS)
        .query(f"label_values({REQUESTS}, service_name)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .include_all(include_all=True)
        .all_value(".+")
        .multi(multi=True)
        .current(VariableOption(selected=True, text="All", value="$__all"))
    )
    return with_rows(
        board,
        [
            ("Is something wrong?", overview()),
            ("Where?", by_service()),
            ("Which request, and why?", failures()),
        ],
    )
