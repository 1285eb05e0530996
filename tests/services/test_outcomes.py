"""Every row of the outcome table: what the customer, the traces, the metrics and the logs say of it."""

from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from services.checkout.orders import OUTCOMES
from tests.conftest import CANONICAL, Build, House, Sample, about
from three_pillar_demo.load.checkout_client import basket
from three_pillar_demo.verify.outcomes import CHECKOUT, CLIENT, EXPECTED, ORDER, PAYMENT, Expected

JSON = {"content-type": "application/json"}
LEVELS = {"INFO": "info", "WARN": "warning", "ERROR": "error"}
BUG = "a bug with a secret in it"


@dataclass(frozen=True)
class Row:
    """One way to an outcome, and where it differs from the outcome's usual row."""

    outcome: str
    message: str
    ask: dict[str, Any] = field(default_factory=dict)
    house: dict[str, Any] = field(default_factory=dict)
    bug_in: str = ""
    method: str = "POST"
    path: str = "/checkout"
    endpoint: str = "/checkout"
    status: int = 0
    spans: tuple[str, ...] = ()

    @property
    def expected(self) -> Expected:
        """The outcome's row of the table."""
        return EXPECTED[self.outcome]

    @property
    def code(self) -> int:
        """The status that the customer sees."""
        return self.status or self.expected.status


def card(name: str) -> dict[str, Any]:
    """A request whose basket ``name`` pays."""
    return {"json": basket(name)}


ROWS = {
    "success": Row("success", "Checkout complete", card("ordinary")),
    "success of an empty body": Row("success", "Checkout complete"),
    "declined": Row("declined", "Card declined", card("declined")),
    "gateway_timeout by card": Row(
        "gateway_timeout", "Payment gateway timeout", card("gateway-timeout")
    ),
    "gateway_timeout by chance": Row(
        "gateway_timeout", "Payment gateway timeout", house={"failure_rate": 1}
    ),
    "payment_slow": Row(
        "payment_slow", "Payment took too long", card("slow"), house={"limit": 0.1}
    ),
    "payment_crashed": Row("payment_crashed", "Payment failed", card("crash")),
    "payment_unreachable": Row(
        "payment_unreachable", "Payment unreachable", house={"url": "http://127.0.0.1:{closed}"}
    ),
    "payment_busy": Row("payment_busy", "Payment is busy", house={"calls": 0, "limit": 0.1}),
    "invalid 422": Row("invalid", "items[0].quantity: ", card("invalid")),
    "invalid 413": Row(
        "invalid", "request body over 65536 bytes", {"content": b" " * 65537}, status=413
    ),
    "invalid 400": Row(
        "invalid", "The body is not JSON: ", {"content": b"{", "headers": JSON}, status=400
    ),
    "invalid 404": Row("invalid", "Not Found", path="/nowhere", endpoint="unmatched", status=404),
    "invalid 405": Row("invalid", "Method Not Allowed", method="GET", status=405),
    "crashed at the door": Row("crashed", "Internal error", bug_in="checkout.app.place"),
    # The bug passes through the order's span, which then tells of it too.
    "crashed in the order": Row(
        "crashed",
        "Internal error",
        bug_in="checkout.payment_client.PaymentClient.charge",
        spans=(CHECKOUT, ORDER),
    ),
}


@dataclass(frozen=True)
class Visit:
    """One request on its way through the house, and what came back."""

    row: Row
    house: House
    answer: httpx2.Response

    @property
    def trace_id(self) -> str:
        """The way back that the answer carries."""
        return str(self.answer.json()["trace_id"])


@pytest.fixture(params=list(ROWS.values()), ids=list(ROWS))
def visit(
    request: pytest.FixtureRequest, build: Build, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> Visit:
    """One request for each row of the table."""
    row: Row = request.param
    if row.bug_in:

        async def bug(*_: object) -> None:
            raise ValueError(BUG)

        monkeypatch.setattr(row.bug_in, bug)
    settings = {
        name: value.format(closed=closed_port) if name == "url" else value
        for name, value in row.house.items()
    }
    house = build(**settings)
    return Visit(row, house, house.ask(row.method, row.path, **row.ask))


def test_the_answer_says_what_happened(visit: Visit) -> None:
    """Every answer has its status, outcome, message and trace id, an order's also says which order, and none says more."""
    said, row = visit.answer.json(), visit.row
    text = "message" if row.outcome == "success" else "detail"
    assert visit.answer.status_code == row.code
    assert said["outcome"] == row.outcome
    assert said[text].startswith(row.message)
    assert row.outcome == "invalid" or said[text] == row.message
    order = set() if row.outcome in {"invalid", "crashed"} else {"order_id", "amount", "currency"}
    assert set(said) == {
        text,
        "outcome",
        "trace_id",
        *order,
        *({"status"} if row.outcome == "success" else ()),
    }
    assert said.get("status", "success") == "success"
    assert not order or (said["amount"], said["currency"]) == ("9.00", "EUR")
    version, trace_id, span_id, _flags = visit.answer.headers["traceresponse"].split("-")
    server = visit.house.roles[CHECKOUT].context
    assert (version, trace_id, span_id) == ("00", said["trace_id"], format_span_id(server.span_id))


def test_the_spans_are_one_chain_with_the_errors_of_the_table(visit: Visit) -> None:
    """Exactly the table's spans exist, each the child of the one before, and exactly the table's have error status."""
    row, roles = visit.row, visit.house.roles
    chain = row.spans or row.expected.spans
    errors = row.expected.errors | set(row.spans)
    assert set(roles) == set(chain)
    parent = None
    for role in chain:
        span = roles[role]
        assert format_trace_id(span.context.trace_id) == visit.trace_id
        assert (span.parent and span.parent.span_id) == parent, role
        parent = span.context.span_id
        assert span.status.status_code is (
            StatusCode.ERROR if role in errors else StatusCode.UNSET
        ), role
    assert roles[CHECKOUT].kind is SpanKind.SERVER
    route = "" if row.endpoint == "unmatched" else f" {row.endpoint}"
    assert roles[CHECKOUT].name == row.method + route
    assert about(roles[CHECKOUT])["http.response.status_code"] == row.code
    if PAYMENT in roles:
        assert roles[PAYMENT].name == "POST /charges"
        assert about(roles[PAYMENT])["http.response.status_code"] == row.expected.payment_status


def test_the_order_tells_its_story_in_its_span(visit: Visit) -> None:
    """The order's span has its id, amount, currency and outcome; a fault adds its type, in words, and the exception."""
    row, roles = visit.row, visit.house.roles
    if ORDER not in roles:
        assert row.outcome in {"invalid", "crashed"}
        return
    span = roles[ORDER]
    said = about(span)
    assert (span.name, span.kind) == ("place order", SpanKind.INTERNAL)
    assert (said.pop("order.amount"), said.pop("order.currency")) == (9.0, "EUR")
    assert said.pop("order.id") == visit.answer.json().get("order_id") or row.outcome == "crashed"
    if row.outcome in OUTCOMES and EXPECTED[row.outcome].errors:
        assert said.pop("error.type") == row.outcome
        assert span.status.description == row.message
        assert [event.name for event in span.events] == ["exception"]
    if row.outcome != "crashed":
        assert said.pop("order.outcome") == row.outcome
    assert not said


def test_exceptions_stand_on_the_span_where_they_happened(visit: Visit) -> None:
    """A crash, a lost connection and a time-out are exception events on the span that met them; nothing else is one."""
    met = {
        "crashed": {CHECKOUT: "ValueError", **({ORDER: "ValueError"} if visit.row.spans else {})},
        "payment_crashed": {ORDER: "checkout.payment_client.PaymentError", PAYMENT: "RuntimeError"},
        "payment_slow": {
            ORDER: "checkout.payment_client.PaymentError",
            CLIENT: "httpx2.ReadTimeout",
        },
        "payment_unreachable": {
            ORDER: "checkout.payment_client.PaymentError",
            CLIENT: "httpx2.ConnectError",
        },
        "payment_busy": {ORDER: "checkout.payment_client.PaymentError"},
        "gateway_timeout": {ORDER: "checkout.payment_client.PaymentError"},
    }
    found = {
        role: about(event)["exception.type"]
        for role, span in visit.house.roles.items()
        for event in span.events
        if event.name == "exception"
    }
    assert found == met.get(visit.row.outcome, {})


def test_the_request_is_counted_exactly_once(visit: Visit) -> None:
    """Each service counts and measures the request once, with its status, and the exemplars lead to the trace."""
    row, paid, samples = visit.row, visit.row.expected.payment_status, visit.house.samples()
    counted = {"checkout": (row.method, row.endpoint, row.code)} | (
        {"payment": ("POST", "/charges", paid)} if paid else {}
    )
    trace = {visit.trace_id}
    for service, (method, endpoint, status) in counted.items():
        labels = {"method": method, "endpoint": endpoint, "status": str(status)}
        assert samples.pop(f"{service}.requests") == [Sample(labels, 1, trace)]
        assert samples.pop(f"{service}.request.latency") == [
            Sample({"endpoint": endpoint}, 1, trace)
        ]
    standard = samples.pop("http.server.request.duration")
    found = [
        (each.labels.get("http.route", "unmatched"), each.labels["http.response.status_code"])
        for each in standard
    ]
    assert sorted(found) == sorted(each[1:] for each in counted.values())
    assert [(each.count, each.traces) for each in standard] == [(1, trace)] * len(counted)
    assert set(samples) == {"http.server.active_requests"}


def test_each_service_writes_one_canonical_line(visit: Visit) -> None:
    """One line for each service says outcome, status and duration with the table's severity, in OTLP and on stdout alike."""
    row, expected, house = visit.row, visit.row.expected, visit.house
    told = {row.endpoint: (row.outcome, row.code, expected.severity, CHECKOUT)}
    if expected.payment_status:
        told["/charges"] = (
            expected.payment_outcome or "",
            expected.payment_status,
            expected.payment_severity or "",
            PAYMENT,
        )
    records = [record for record in house.records if CANONICAL in about(record)]
    lines = [line for line in house.lines() if CANONICAL in line]
    assert len(records) == len(lines) == len(told)
    for record, line in zip(records, lines, strict=True):
        said = about(record)
        outcome, status, severity, role = told.pop(said["http.route"])
        context = house.roles[role].context
        assert (said["outcome"], said[CANONICAL], record.severity_text) == (
            outcome,
            status,
            severity,
        )
        assert isinstance(said["http.server.request.duration"], float)
        assert (record.trace_id, record.span_id) == (context.trace_id, context.span_id)
        assert (line["trace_id"], line["span_id"]) == (
            visit.trace_id,
            format_span_id(context.span_id),
        )
        assert (line["level"], line["event"]) == (LEVELS[severity], record.body)
        crash = {name: said.pop(name) for name in list(said) if name.startswith("exception.")}
        assert (
            bool(crash)
            == (outcome == "crashed")
            == line.get("exception", "").startswith("Traceback")
        )
        assert said.items() <= line.items(), "both say the same"


def test_a_failed_order_says_why_in_words(visit: Visit) -> None:
    """A payment that failed gets one error line with the reason, before the canonical one; every other outcome gets none."""
    records = visit.house.records
    why = [record for record in records if CANONICAL not in about(record)]
    bodies = [
        str(record.body) for record in why if str(record.body).startswith("order not placed: ")
    ]
    assert len(bodies) == (
        visit.row.outcome in OUTCOMES and bool(EXPECTED[visit.row.outcome].errors)
    )
    assert len(why) == len(bodies) + (visit.row.outcome == "gateway_timeout"), (
        "payment tells of its gateway too"
    )
    assert all(record.severity_text == "ERROR" for record in why)
    assert {format_trace_id(record.trace_id or 0) for record in records} == {visit.trace_id}


@pytest.mark.parametrize(
    "trouble", [{}, {"failure_rate": 1}, {"latency_min": 0.3, "latency_max": 0.3, "limit": 0.1}]
)
def test_no_pillar_holds_the_card(build: Build, trouble: dict[str, float]) -> None:
    """The card that pays is in no span, no line and no record, whether the payment works or not."""
    house = build(**trouble)
    house.ask(**card("jane-4111"))
    left = [
        *(span.to_json() for span in house.spans),
        *house.lines(),
        *((each.body, about(each)) for each in house.records),
    ]
    assert len(left) >= 4 + 2 + 2
    assert "jane-4111" not in str(left)


def test_the_table_the_demo_and_the_services_agree() -> None:
    """The demo's table has exactly these outcomes, and checkout's own agree with it in status and words."""
    assert {row.outcome for row in ROWS.values()} == set(EXPECTED)
    messages = {row.outcome: row.message for row in ROWS.values()}
    assert set(OUTCOMES) == set(EXPECTED) - {"invalid", "crashed"}
    assert {name: (EXPECTED[name].status, messages[name]) for name in OUTCOMES} == OUTCOMES
