"""Four shops, each of two services under its language's OpenTelemetry, send to the local store.

Each shop has sold a teapot with success and has failed to sell a unicorn.
"""

import re

import pytest

from tests.clients.shops import ERROR_MESSAGE, REQUEST_TIMEOUT_S, Visit, bought
from tests.demo.local_store.stores import read_rows
from three_pillar_demo.query.interface import Span
from three_pillar_demo.trace_view import gather
from three_pillar_demo.trace_view.calls import status_of
from three_pillar_demo.trace_view.clocks import clock_skews
from three_pillar_demo.trace_view.explanation import explain
from three_pillar_demo.trace_view.timing import late_answers
from three_pillar_demo.trace_view.tree import tree_rows

DURATION_SUM = "http_server_request_duration_seconds_sum"
DURATION_COUNT = "http_server_request_duration_seconds_count"
REFUSED = re.compile(r"partial.?success|rejected|failed to export|unimplemented", re.IGNORECASE)
"""What the SDKs print when the receiver refuses telemetry or cannot be reached."""


def ancestors(span: Span, spans: list[Span]) -> list[Span]:
    """Return the parent of ``span``, the parent of that one, and so on up to the root."""
    by_id = {other.span_id: other for other in spans}
    chain: list[Span] = []
    while span.parent_id:
        span = by_id[span.parent_id]
        assert span not in chain, f"a circle of parents: {span}"
        chain.append(span)
    return chain


@pytest.mark.parametrize("failed", [False, True])
def test_a_trace_spans_both_services(visit: Visit, *, failed: bool) -> None:
    """The SERVER span of stock descends from a CLIENT span and the SERVER span of shop."""
    spans = bought(visit, failed=failed).spans
    [stock] = [span for span in spans if (span.service, span.kind) == ("stock", "SERVER")]
    [shop] = [span for span in spans if (span.service, span.kind) == ("shop", "SERVER")]
    chain = ancestors(stock, spans)
    assert (chain[0].service, chain[0].kind) == ("shop", "CLIENT")
    assert chain[-1] == shop
    for span in (shop, chain[0], stock):
        assert status_of(span) == ("500" if failed else "200")
        assert span.error == failed
        assert span.end > span.start


def test_the_failure_has_its_exception(visit: Visit) -> None:
    """A span of stock has the exception of the failed request, with type, message and stack."""
    events = [
        event
        for span in bought(visit, failed=True).spans
        if span.service == "stock"
        for event in span.events
        if event.name == "exception"
    ]
    assert events
    for event in events:
        assert event.attributes["exception.type"].endswith(visit.client.error)
        assert event.attributes["exception.message"] == ERROR_MESSAGE
        assert visit.client.file in event.attributes["exception.stacktrace"]


def test_resource_and_scope_are_kept(visit: Visit) -> None:
    """Each span names the language of its SDK and the instrumentation that made it."""
    for span in bought(visit, failed=False).spans:
        assert span.resource["telemetry.sdk.language"] == visit.client.language
        assert span.resource["service.name"] == span.service
        assert span.scope.name


def test_one_sentence_explains_the_failure(visit: Visit) -> None:
    """The trace view says that shop failed because stock did, and names the error."""
    sentence = explain(bought(visit, failed=True))
    assert sentence == f"shop answered 500 because stock {visit.client.reason}."


def test_one_sentence_describes_the_success(visit: Visit) -> None:
    """The trace view has the answers of both services."""
    assert explain(bought(visit, failed=False)) == "shop answered 200; stock answered 200."


@pytest.mark.parametrize("failed", [False, True])
def test_nothing_is_said_that_is_not_so(visit: Visit, *, failed: bool) -> None:
    """Of a whole trace nothing is missing, no call was given up, and no clock is wrong."""
    trace_id = bought(visit, failed=failed).trace_id
    view, missing = visit.store.query(lambda backends: gather.fetch(backends, trace_id))
    assert missing == []
    assert late_answers(view) == {}
    assert clock_skews(view) == []
    assert [row.node for row in tree_rows(view) if row.in_cycle] == []


def test_log_records_belong_to_their_span(visit: Visit) -> None:
    """The warning of the successful request is in its trace, in a span of stock."""
    view = bought(visit, failed=False)
    [record] = [record for record in view.logs if record.body.endswith("only 1 teapot left")]
    assert record.service == "stock"
    assert record.severity.upper().startswith("WARN")
    [span] = [span for span in view.spans if span.span_id == record.fields["span_id"]]
    assert span.service == "stock"
    assert span.start <= record.time


def test_durations_of_requests_are_counted(visit: Visit) -> None:
    """The histogram of durations has one request of each service and status, and its seconds."""
    labels = ("service_name", "http_response_status_code")
    expected = {
        (service, status): 1.0 for service in ("shop", "stock") for status in ("200", "500")
    }

    def counted() -> dict[tuple[str, ...], float]:
        return visit.store.counters(DURATION_COUNT, *labels)

    visit.store.wait_until(lambda: f"{expected} and not {counted()}", lambda: counted() == expected)
    sums = visit.store.counters(DURATION_SUM, *labels)
    assert sums.keys() == expected.keys()
    assert all(0 < seconds < REQUEST_TIMEOUT_S for seconds in sums.values())


def test_exemplars_point_to_the_traces(visit: Visit) -> None:
    """Where the SDK sends exemplars, those of the request durations have the trace ids."""
    if not visit.client.exemplars:
        pytest.skip(f"the SDK of {visit.client.name} sends no exemplars")
    trace_ids = {bought(visit, failed=failed).trace_id for failed in (False, True)}

    def have_exemplars() -> bool:
        return all(visit.store.view(trace_id).exemplars for trace_id in trace_ids)

    visit.store.wait_until(f"exemplars of the traces {trace_ids}", have_exemplars)


def test_nothing_is_refused(visit: Visit) -> None:
    """The store has rejected no data point, and neither program reports a refused export."""
    bought(visit, failed=True)
    rejected = read_rows(
        visit.store.process.path, "SELECT rejected FROM batch WHERE rejected != '{}'"
    )
    refusals = [
        line
        for program in visit.programs
        for line in program.text().splitlines()
        if REFUSED.search(line)
    ]
    assert rejected == []
    assert refusals == []
