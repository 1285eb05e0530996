"""*Checkout*, a story from the top: is something wrong, where, which request, why."""

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models.dashboard import VariableOption, VariableRefresh

from grafana.parts import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PROMETHEUS,
    RED,
    Properties,
    course,
    dashboard,
    graph,
    lines,
    logql,
    number,
    promql,
    promql_now,
    rows,
    service_map,
    steps,
    traceql,
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


def columns(width: int) -> dict[str, Properties]:
    """How a table of purchases looks, and where its cells lead."""
    one_request = "/d/one-request?var-trace_id=${__data.fields.traceIdHidden}&${__url_time_range}"
    return {
        # Needed for the link, and in the way of a reader.
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
            "links": [{"title": "All about this request", "url": one_request}],
        },
    }


def checkout() -> build.Dashboard:
    """The shop as its customers see it."""
    return (
        dashboard(
            "checkout",
            "Checkout",
            "Is something wrong, where, which request, and why: the shop's rate, errors and duration.",
        )
        .with_variable(
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
        .with_row(build.Row("Is something wrong?"))
        .with_panel(
            number(
                "Checkouts",
                "How many checkouts customers ask for, whatever became of them.",
                promql(f"sum(rate({REQUESTS}{{{CUSTOMER}}}[$__rate_interval])) or vector(0)"),
                "reqps",
                steps(BLUE),
                decimals=1,
            )
        )
        .with_panel(
            number(
                "Failing",
                "The share of checkouts that fail through our fault (5xx), now.",
                promql(
                    f"sum(rate({REQUESTS}{{{CUSTOMER}, {FAILED}}}[$__rate_interval]))"
                    f" / sum(rate({REQUESTS}{{{CUSTOMER}}}[$__rate_interval])) >= 0 or vector(0)"
                ),
                "percentunit",
                steps(GREEN, (0.01, ORANGE), (0.05, RED)),
                decimals=1,
            )
        )
        .with_panel(
            number(
                "p95",
                "Nineteen of twenty checkouts are answered within this time (p95).",
                promql(
                    f"histogram_quantile(0.95, sum by (le) (rate({BUCKETS}{{{CUSTOMER}}}[$__rate_interval]))) >= 0 or vector(0)"
                ),
                "s",
                steps(GREEN, (0.75, ORANGE), (1, RED)),
                decimals=0,
            )
        )
        .with_panel(
            number(
                "Failed",
                "Checkouts that failed through our fault in the time shown.",
                promql_now(
                    f"round(sum(increase({REQUESTS}{{{CUSTOMER}, {FAILED}}}[$__range]))) or vector(0)"
                ),
                "short",
                steps(GREEN, (1, RED)),
                decimals=0,
            )
        )
        .with_panel(
            number(
                "Declined",
                "Purchases the bank declined in the time shown: business, not a fault.",
                promql_now(
                    f'round(sum(increase({REQUESTS}{{{CUSTOMER}, http_response_status_code="402"}}[$__range]))) or vector(0)'
                ),
                "short",
                steps(BLUE),
                decimals=0,
            )
        )
        .with_panel(
            number(
                "Under way",
                "Requests both services are working on at this moment; a number that only grows means that something hangs.",
                promql('sum(http_server_active_requests{service_namespace="shop"}) or vector(0)'),
                "short",
                steps(GREEN, (50, ORANGE), (200, RED)),
                decimals=0,
            )
        )
        .with_row(build.Row("Where?"))
        .with_panel(
            course(
                "Requests per second",
                "How much each service and route is asked; `unmatched` is an address that does not exist.",
                [
                    promql(
                        f"sum by (service_name, http_route) (rate({REQUESTS}{{{WHERE}}}[$__rate_interval]))",
                        "{{service_name}} {{http_route}}",
                    )
                ],
                "reqps",
                colours={"^checkout": BLUE, "^payment": "purple"},
            )
        )
        .with_panel(
            course(
                "Error ratio",
                "The share answered with 5xx, and what the objective tolerates; when both rise, payment is the cause.",
                [
                    promql(
                        f"sum by (service_name, http_route) (rate({REQUESTS}{{{WHERE}, {FAILED}}}[$__rate_interval]))"
                        f" / sum by (service_name, http_route) (rate({REQUESTS}{{{WHERE}}}[$__rate_interval]))"
                        f" or 0 * sum by (service_name, http_route) (rate({REQUESTS}{{{WHERE}}}[$__rate_interval]))",
                        "{{service_name}} {{http_route}}",
                    ),
                    promql('max(slo:error_budget:ratio{slo="availability"})', "tolerated"),
                ],
                "percentunit",
                colours={"^checkout": BLUE, "^payment": "purple", "^tolerated$": RED},
                dashed=["^tolerated$"],
            )
        )
        .with_panel(
            course(
                "Outcomes",
                "What became of each checkout, counted from its log lines; declined and invalid are the customer's business.",
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
            )
        )
        .with_panel(
            course(
                "Duration",
                "How long answers take; a dot is one request, and leads to its trace and its log lines.",
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
                limits=steps(GREEN, (1, RED)),
                colours=QUANTILE_COLOURS,
                fill=0,
            )
        )
        .with_panel(
            graph(
                "Who calls whom",
                "The services as the traces show them, with the time a call takes, and red for the share of calls that failed.",
                service_map(),
                (10, 10),
            )
        )
        .with_row(build.Row("Which request, and why?"))
        .with_panel(
            rows(
                "Newest failed purchases",
                "Purchases that failed through our fault; Trace opens the trace, Outcome all about the request.",
                traceql(FAILED_PURCHASES + NEWEST),
                (10, 11),
                columns(145),
            )
        )
        .with_panel(
            lines(
                "Error lines",
                "What the services said about failures, newest first; a line opened shows its links.",
                logql(f'{{service_namespace="shop", {WHERE}}} | severity_text="ERROR"'),
                (14, 11),
            )
        )
    )
