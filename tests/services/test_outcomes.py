"""The response, traces, metrics and logs of each outcome of a checkout request.

``ROWS`` are the requests. The expected telemetry of each outcome is in ``EXPECTED`` of
``three_pillar_demo/verify/outcomes.py``, which the tests below call the table.
"""

from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from services.checkout.orders import OUTCOMES
from tests.conftest import ShopFactory
from tests.in_memory_shop import CANONICAL, InMemoryShop, Sample, attributes_of
from three_pillar_demo.load.checkout_client import basket
from three_pillar_demo.verify.outcomes import CHECKOUT, CLIENT, EXPECTED, ORDER, PAYMENT, Expected

JSON = {"content-type": "application/json"}
LEVELS = {"INFO": "info", "WARN": "warning", "ERROR": "error"}
"""The level of a line on stdout by the severity text of its OTLP log record."""

PAYMENT_ERROR = "services.checkout.payment_client.PaymentError"


@dataclass(frozen=True)
class Row:
    """A request that leads to ``outcome``, and its differences from the outcome's usual request.

    ``message`` is the expected text in the response.
    """

    outcome: str
    message: str
    request: dict[str, Any] = field(default_factory=dict)
    """Arguments of ``InMemoryShop.request``, for example ``json`` for the body."""
    shop: dict[str, Any] = field(default_factory=dict)
    """Arguments of the fixture ``build_shop``."""
    bug_in: str = ""
    """Full name of a function that is replaced by one that raises ValueError; empty for none."""
    method: str = "POST"
    path: str = "/checkout"
    endpoint: str = "/checkout"
    status: int = 0
    """The expected status, if the outcome has several; 0 stands for the one of the table."""
    spans: tuple[str, ...] = ()
    """The expected spans, all with error status; empty stands for those of the table."""

    @property
    def expected(self) -> Expected:
        """The expectations for the outcome, from the table ``EXPECTED``."""
        return EXPECTED[self.outcome]

    @property
    def expected_status(self) -> int:
        """The expected HTTP status of checkout's response."""
        return self.status or self.expected.status

    @property
    def has_failed_payment(self) -> bool:
        """Whether the outcome is that of an order whose payment failed."""
        return self.outcome in OUTCOMES and bool(self.expected.errors)


def paid_with(card: str) -> dict[str, Any]:
    """Return the ``request`` of a ``Row`` whose basket is paid with ``card``."""
    return {"json": basket(card)}


ROWS = {
    "success": Row("success", "Checkout complete", paid_with("ordinary")),
    "success of an empty body": Row("success", "Checkout complete"),
    "declined": Row("declined", "Card declined", paid_with("declined")),
    "gateway_timeout by card": Row(
        "gateway_timeout", "Payment gateway timeout", paid_with("gateway-timeout")
    ),
    "gateway_timeout by chance": Row(
        "gateway_timeout", "Payment gateway timeout", shop={"failure_rate": 1}
    ),
    "payment_slow": Row(
        "payment_slow", "Payment took too long", paid_with("slow"), shop={"payment_timeout": 0.1}
    ),
    "payment_crashed": Row("payment_crashed", "Payment failed", paid_with("crash")),
    "payment_unreachable": Row(
        "payment_unreachable",
        "Payment unreachable",
        shop={"payment_url": "http://127.0.0.1:{closed_port}"},
    ),
    "payment_busy": Row(
        "payment_busy", "Payment is busy", shop={"connections": 0, "payment_timeout": 0.1}
    ),
    "invalid 422": Row("invalid", "items[0].quantity: ", paid_with("invalid")),
    "invalid 413": Row(
        "invalid", "request body over 65536 bytes", {"content": b" " * 65537}, status=413
    ),
    "invalid 400": Row(
        "invalid", "The body is not JSON: ", {"content": b"{", "headers": JSON}, status=400
    ),
    "invalid 404": Row("invalid", "Not Found", path="/nowhere", endpoint="unmatched", status=404),
    "invalid 405": Row("invalid", "Method Not Allowed", method="GET", status=405),
    "crashed in the route handler": Row(
        "crashed", "Internal error", bug_in="services.checkout.app.place_order"
    ),
    # The exception passes through the order's span, which records it too.
    "crashed in the order": Row(
        "crashed",
        "Internal error",
        bug_in="services.checkout.payment_client.PaymentClient.charge",
        spans=(CHECKOUT, ORDER),
    ),
}


@dataclass(frozen=True)
class Exchange:
    """One request, the shop that handled it, and its response."""

    row: Row
    shop: InMemoryShop
    response: httpx2.Response

    @property
    def trace_id(self) -> str:
        """The trace id in the body of the response."""
        return str(self.response.json()["trace_id"])


@pytest.fixture(params=list(ROWS.values()), ids=list(ROWS))
def exchange(
    request: pytest.FixtureRequest,
    build_shop: ShopFactory,
    closed_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> Exchange:
    """Build a shop for one of ``ROWS``, send its request, and return both with the response."""
    row: Row = request.param
    if row.bug_in:

        async def bug(*_: object) -> None:
            raise ValueError("a bug with a secret in it")

        monkeypatch.setattr(row.bug_in, bug)
    arguments = dict(row.shop)
    if "payment_url" in arguments:
        arguments["payment_url"] = arguments["payment_url"].format(closed_port=closed_port)
    shop = build_shop(**arguments)
    return Exchange(row, shop, shop.request(row.method, row.path, **row.request))


def test_response_names_the_outcome(exchange: Exchange) -> None:
    """A response has its status, outcome, message and trace id, and the order if there is one."""
    row = exchange.row
    body = exchange.response.json()
    text = "message" if row.outcome == "success" else "detail"
    assert exchange.response.status_code == row.expected_status
    assert body["outcome"] == row.outcome
    assert body[text].startswith(row.message)
    if row.outcome != "invalid":
        assert body[text] == row.message
    fields = {text, "outcome", "trace_id"}
    if row.outcome == "success":
        fields |= {"status"}
        assert body["status"] == "success"
    if row.outcome not in {"invalid", "crashed"}:
        fields |= {"order_id", "amount", "currency"}
        assert (body["amount"], body["currency"]) == ("9.00", "EUR")
    assert set(body) == fields
    version, trace_id, span_id, _flags = exchange.response.headers["traceresponse"].split("-")
    server_span = exchange.shop.spans_by_role[CHECKOUT]
    assert version == "00"
    assert trace_id == body["trace_id"]
    assert span_id == format_span_id(server_span.context.span_id)


def test_spans_are_one_chain_with_the_errors_of_the_table(exchange: Exchange) -> None:
    """A request has the table's spans, each a child of the one before, with the table's errors."""
    row = exchange.row
    spans = exchange.shop.spans_by_role
    chain = row.spans or row.expected.spans
    errors = row.expected.errors | set(row.spans)
    assert set(spans) == set(chain)
    parent_id = None
    for role in chain:
        span = spans[role]
        assert format_trace_id(span.context.trace_id) == exchange.trace_id
        assert (span.parent and span.parent.span_id) == parent_id, role
        parent_id = span.context.span_id
        expected_code = StatusCode.ERROR if role in errors else StatusCode.UNSET
        assert span.status.status_code is expected_code, role
    checkout = spans[CHECKOUT]
    route = "" if row.endpoint == "unmatched" else f" {row.endpoint}"
    assert checkout.kind is SpanKind.SERVER
    assert checkout.name == row.method + route
    assert attributes_of(checkout)["http.response.status_code"] == row.expected_status
    if PAYMENT in spans:
        payment = spans[PAYMENT]
        assert payment.name == "POST /charges"
        payment_status = attributes_of(payment)["http.response.status_code"]
        assert payment_status == row.expected.payment_status


def test_order_span_describes_the_order(exchange: Exchange) -> None:
    """The span ``place order`` has the order's id, amount, currency, outcome and error type."""
    row = exchange.row
    spans = exchange.shop.spans_by_role
    if ORDER not in spans:
        assert row.outcome in {"invalid", "crashed"}
        return
    span = spans[ORDER]
    attributes = attributes_of(span)
    assert (span.name, span.kind) == ("place order", SpanKind.INTERNAL)
    assert attributes.pop("order.amount") == 9.0
    assert attributes.pop("order.currency") == "EUR"
    order_id = attributes.pop("order.id")
    if row.outcome != "crashed":
        assert order_id == exchange.response.json().get("order_id")
        assert attributes.pop("order.outcome") == row.outcome
    if row.has_failed_payment:
        assert attributes.pop("error.type") == row.outcome
        assert span.status.description == row.message
        assert [event.name for event in span.events] == ["exception"]
    assert not attributes


def test_exceptions_are_recorded_on_the_span_that_met_them(exchange: Exchange) -> None:
    """Each exception is an event of the span in which it occurred, with the exception's type."""
    expected = {
        "crashed": dict.fromkeys(exchange.row.spans or (CHECKOUT,), "ValueError"),
        "payment_crashed": {ORDER: PAYMENT_ERROR, PAYMENT: "RuntimeError"},
        "payment_slow": {ORDER: PAYMENT_ERROR, CLIENT: "httpx2.ReadTimeout"},
        "payment_unreachable": {ORDER: PAYMENT_ERROR, CLIENT: "httpx2.ConnectError"},
        "payment_busy": {ORDER: PAYMENT_ERROR},
        "gateway_timeout": {ORDER: PAYMENT_ERROR},
    }
    recorded = {
        role: attributes_of(event)["exception.type"]
        for role, span in exchange.shop.spans_by_role.items()
        for event in span.events
        if event.name == "exception"
    }
    assert recorded == expected.get(exchange.row.outcome, {})


def test_request_is_counted_exactly_once(exchange: Exchange) -> None:
    """Each service records one count and one duration of a request, with exemplars of its trace."""
    row = exchange.row
    samples = exchange.shop.samples()
    counted = {"checkout": (row.method, row.endpoint, row.expected_status)}
    if row.expected.payment_status:
        counted["payment"] = ("POST", "/charges", row.expected.payment_status)
    traces = {exchange.trace_id}
    for service, (method, endpoint, status) in counted.items():
        labels = {"method": method, "endpoint": endpoint, "status": str(status)}
        assert samples.pop(f"{service}.requests") == [Sample(labels, 1, traces)]
        latency = samples.pop(f"{service}.request.latency")
        assert latency == [Sample({"endpoint": endpoint}, 1, traces)]
    durations = samples.pop("http.server.request.duration")
    recorded = [
        (sample.labels.get("http.route", "unmatched"), sample.labels["http.response.status_code"])
        for sample in durations
    ]
    assert sorted(recorded) == sorted(
        (endpoint, status) for _, endpoint, status in counted.values()
    )
    assert all((sample.count, sample.traces) == (1, traces) for sample in durations)
    assert set(samples) == {"http.server.active_requests"}


def test_each_service_writes_one_canonical_line(exchange: Exchange) -> None:
    """Each service writes one canonical line for a request, the same to OTLP and to stdout."""
    row = exchange.row
    expected = row.expected
    shop = exchange.shop
    missing = {row.endpoint: (row.outcome, row.expected_status, expected.severity, CHECKOUT)}
    if expected.payment_status:
        missing["/charges"] = (
            expected.payment_outcome or "",
            expected.payment_status,
            expected.payment_severity or "",
            PAYMENT,
        )
    records = [record for record in shop.records if CANONICAL in attributes_of(record)]
    lines = [line for line in shop.lines() if CANONICAL in line]
    assert len(records) == len(lines) == len(missing)
    for record, line in zip(records, lines, strict=True):
        attributes = attributes_of(record)
        outcome, status, severity, role = missing.pop(attributes["http.route"])
        context = shop.spans_by_role[role].context
        assert attributes["outcome"] == outcome
        assert attributes[CANONICAL] == status
        assert record.severity_text == severity
        assert isinstance(attributes["http.server.request.duration"], float)
        assert (record.trace_id, record.span_id) == (context.trace_id, context.span_id)
        assert line["trace_id"] == exchange.trace_id
        assert line["span_id"] == format_span_id(context.span_id)
        assert (line["level"], line["event"]) == (LEVELS[severity], record.body)
        # OTLP has the exception in three attributes, stdout as one traceback.
        exception = [name for name in attributes if name.startswith("exception.")]
        for name in exception:
            del attributes[name]
        assert bool(exception) == (outcome == "crashed")
        assert line.get("exception", "").startswith("Traceback") == (outcome == "crashed")
        assert attributes.items() <= line.items(), "the record and the line are the same"


def test_failed_payment_is_explained_in_one_line(exchange: Exchange) -> None:
    """A failed payment has one line at level error with the reason, other outcomes have none."""
    row = exchange.row
    records = exchange.shop.records
    event_records = [record for record in records if CANONICAL not in attributes_of(record)]
    bodies = [str(record.body) for record in event_records]
    reasons = [body for body in bodies if body.startswith("order not placed: ")]
    assert len(reasons) == int(row.has_failed_payment)
    lines_of_payment = int(row.outcome == "gateway_timeout")
    assert len(event_records) == len(reasons) + lines_of_payment
    assert all(record.severity_text == "ERROR" for record in event_records)
    assert {format_trace_id(record.trace_id or 0) for record in records} == {exchange.trace_id}


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"failure_rate": 1},
        {"latency_min": 0.3, "latency_max": 0.3, "payment_timeout": 0.1},
    ],
)
def test_no_pillar_holds_the_card(build_shop: ShopFactory, arguments: dict[str, float]) -> None:
    """The name of the card is in no span, line or log record, whether or not the payment fails."""
    shop = build_shop(**arguments)
    shop.request(**paid_with("jane-4111"))
    telemetry = [
        *(span.to_json() for span in shop.spans),
        *shop.lines(),
        *((record.body, attributes_of(record)) for record in shop.records),
    ]
    assert len(telemetry) >= 4 + 2 + 2
    assert "jane-4111" not in str(telemetry)


def test_demo_and_services_agree_on_the_outcomes() -> None:
    """The table ``EXPECTED`` of the demo has the same outcomes and statuses as checkout itself."""
    assert {row.outcome for row in ROWS.values()} == set(EXPECTED)
    messages = {row.outcome: row.message for row in ROWS.values()}
    assert set(OUTCOMES) == set(EXPECTED) - {"invalid", "crashed"}
    expected = {name: (EXPECTED[name].status, messages[name]) for name in OUTCOMES}
    assert expected == OUTCOMES
