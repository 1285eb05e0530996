"""Tests for ``demo follow``: what it waits for and how long, what is missing, its errors."""

import asyncio
import re
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, Self, cast

import pytest

from tests.traces import ROOT, TRACE, line, slow, span
from three_pillar_demo.query import connect
from three_pillar_demo.query.interface import BackendError, Backends, Exemplar, LogRecord, Span
from three_pillar_demo.trace_view import follow
from three_pillar_demo.trace_view import gather as gathering
from three_pillar_demo.trace_view.view import TraceView, is_canonical

OTHER_TRACE = "f" * 32


class ScriptedBackends:
    """Backends that return the scripted views of a trace in turn, and the last one for ever.

    The view None stands for a trace store that does not have the trace.
    """

    names: Mapping[str, str] = {
        "traces": "the trace store",
        "logs": "the log store",
        "metrics": "the metric store",
    }
    components: Mapping[str, str] = {"traces": "tracer", "logs": "logger", "metrics": "meter"}

    def __init__(self, *views: TraceView | None, logs_available: bool = True) -> None:
        """Return ``views`` in this order; unless ``logs_available``, the log store fails."""
        self.views = list(views)
        self.logs_available = logs_available
        self.current: TraceView | None = None
        self.queries: list[tuple[Any, ...]] = []
        self.failed_requests: list[Span] = []
        self.earlier_purchase = slow()

    async def __aenter__(self) -> Self:
        """Open nothing."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close nothing."""

    async def trace(self, trace_id: str) -> list[Span]:
        """Return the spans of the next view, or an earlier purchase."""
        if trace_id == OTHER_TRACE:
            return self.earlier_purchase.spans
        assert trace_id == TRACE
        self.current = self.views.pop(0) if len(self.views) > 1 else self.views[0]
        return self.current.spans if self.current else []

    async def trace_logs(self, trace_id: str, start: float, end: float) -> list[LogRecord]:
        """Return the log records of the current view."""
        self.queries.append((trace_id, start, end))
        if not self.logs_available:
            raise BackendError("logger: refused")
        return self.current.logs if self.current else []

    async def exemplars(self, start: float, end: float) -> list[Exemplar]:
        """Return the exemplars of the current view, and one of another trace."""
        self.queries.append(("exemplars", start, end))
        exemplars = self.current.exemplars if self.current else []
        return [Exemplar(OTHER_TRACE, 1.0, start, {}), *exemplars]

    async def requests(self, service: str, _start: float, _end: float, *, limit: int) -> list[str]:
        """Return the earlier purchase, which was a request to checkout."""
        assert limit > 0
        return [OTHER_TRACE] if service == "checkout" else []

    async def logs(
        self, _start: float, _end: float, *, service: str, canonical: bool, limit: int
    ) -> list[LogRecord]:
        """Return the canonical log records of the earlier purchase."""
        assert canonical
        records = [record for record in self.earlier_purchase.logs if is_canonical(record)]
        return [record for record in records if record.service == service][:limit]

    async def request_spans(
        self, start: float, end: float, *, service: str = "", failed: bool = False, limit: int
    ) -> list[Span]:
        """Return the failed requests that the test has set, or those of the earlier purchase."""
        if not failed:
            spans = self.earlier_purchase.spans
            return [span for span in spans if span.service == service][:limit]
        self.queries.append(("request_spans", start, end))
        in_range = [span for span in self.failed_requests if span.start <= end * 10**9]
        return in_range[:limit]


@pytest.fixture(autouse=True)
def _poll_without_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "POLL_INTERVAL_S", 0)


def gather(backends: ScriptedBackends) -> tuple[TraceView, list[str]]:
    """Gather the trace; return it and the descriptions of what was awaited, each once."""
    awaited: dict[str, None] = {}

    def report_wait(reason: str) -> None:
        awaited[reason] = None

    view = asyncio.run(gathering.gather(cast("Backends", backends), TRACE, report_wait))
    return view, list(awaited)


def moved_to_now(view: TraceView) -> TraceView:
    """Return the trace with its times moved so that it ends now."""
    offset = time.time_ns() - max(span.end for span in view.spans)
    spans = [replace(span, start=span.start + offset, end=span.end + offset) for span in view.spans]
    return replace(view, spans=spans)


def without_service(view: TraceView, service: str) -> TraceView:
    """Return the trace without the telemetry of ``service``."""
    return replace(
        view,
        spans=[span for span in view.spans if span.service != service],
        logs=[record for record in view.logs if record.service != service],
    )


@pytest.mark.parametrize("text", ["", "xyz", TRACE[:-1], "0" * 32, "\x1b[2J"])
def test_invalid_trace_id_is_refused_with_what_to_type(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An invalid trace id exits with 2 and one line that says how to get a valid one."""
    assert asyncio.run(follow.follow(text)) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert "32 hex digits" in err
    assert "demo tail" in err
    assert "\x1b" not in err


def test_complete_trace_is_shown_at_once() -> None:
    """A complete trace needs no waiting, and exemplars of other traces are left out."""
    backends = ScriptedBackends(slow())
    view, awaited = gather(backends)
    assert (view, awaited) == (slow(), [])
    assert [query for query, _, _ in backends.queries] == [TRACE, "exemplars"]


def test_late_half_of_a_trace_is_awaited() -> None:
    """Payment's late span, log record and exemplar are each named while they are awaited."""
    complete = moved_to_now(slow())
    logs_of_checkout = [record for record in complete.logs if record.service != "payment"]
    backends = ScriptedBackends(
        None,
        without_service(complete, "payment"),
        replace(complete, logs=logs_of_checkout),
        replace(complete, exemplars=complete.exemplars[:1]),
        complete,
    )
    view, awaited = gather(backends)
    assert view == complete
    assert awaited == [
        "the trace store to have the trace",
        "the span at the other end of checkout's call to http://127.0.0.1:8001/charges",
        "payment's log line of POST /charges",
        "the metric store to have an exemplar of it",
    ]


def test_overdue_parts_become_a_remark() -> None:
    """An old incomplete trace is shown at once, with a remark that names what is missing."""
    view, awaited = gather(ScriptedBackends(without_service(slow(), "payment")))
    assert not awaited
    assert len(view.spans) == 3
    missing = "the span at the other end of checkout's call to http://127.0.0.1:8001/charges"
    assert view.remarks == (
        f"not received: {missing}. It may be late, or never sent: follow this trace again",
    )


def test_waiting_ends_at_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """An incomplete trace whose times are in the future is shown after the timeout."""
    monkeypatch.setattr(gathering, "TIMEOUT_S", 0)
    ahead = moved_to_now(without_service(slow(), "payment"))
    spans = [replace(span, end=span.end + 3600 * 10**9) for span in ahead.spans]
    view, _ = gather(ScriptedBackends(replace(ahead, spans=spans)))
    assert view.remarks


def test_many_missing_parts_are_counted() -> None:
    """Of hundreds of different missing parents, a few are named and the rest are counted."""
    spans = [
        span(f"{number:016x}", f"{number + 500:016x}", "INTERNAL", name=f"step {number}")
        for number in range(300)
    ]
    view, _ = gather(ScriptedBackends(TraceView(TRACE, spans, [], [])))
    assert view.remarks[0].count("the parent of checkout's span") == gathering.MAX_MISSING
    assert "295 more" in view.remarks[0]


def test_a_repeated_span_is_shown_once() -> None:
    """A span that a sender delivered twice is shown once, and another one of its id is kept."""
    view = moved_to_now(slow())
    again = [deepcopy(span) for span in view.spans]
    other = replace(view.spans[-1], name="another")
    shown, _ = gather(ScriptedBackends(replace(view, spans=[*view.spans, *again, other])))
    assert shown.spans == [*view.spans, other]
    assert "also has 4 repetitions of these spans" in shown.remarks[0]


def test_equal_missing_parts_are_counted_together() -> None:
    """Missing parts with the same description are one line, which says how many they are."""
    names = ["retry", "retry", "other", "retry"]
    spans = [
        span(f"{number:016x}", f"{number + 500:016x}", "INTERNAL", name=name)
        for number, name in enumerate(names)
    ]
    view, _ = gather(ScriptedBackends(TraceView(TRACE, spans, [], [])))
    assert "the parent of checkout's span retry (3 times)" in view.remarks[0]
    assert "the parent of checkout's span other. " in view.remarks[0]
    assert "more" not in view.remarks[0]


def test_log_records_without_spans_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trace of which only log records have arrived is printed, with a remark that says so."""
    monkeypatch.setattr(gathering, "TIMEOUT_S", 0)
    records = TraceView(TRACE, [], [line(ROOT, "hello", service="web")], [])
    monkeypatch.setattr(connect, "create_backends", lambda: ScriptedBackends(records))
    assert asyncio.run(follow.follow(TRACE)) == 0
    out = capsys.readouterr().out
    assert "INFO  hello (web)" in out
    assert "the trace store has no span of this trace" in out


def test_unknown_trace_is_a_clear_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trace that never arrives exits with 1, naming the backend and what to check."""
    monkeypatch.setattr(gathering, "TIMEOUT_S", 0)
    monkeypatch.setattr(connect, "create_backends", lambda: ScriptedBackends(None))
    assert asyncio.run(follow.follow(TRACE)) == 1
    out, err = capsys.readouterr()
    assert not out
    assert f"the trace store does not have trace {TRACE}" in err
    assert "demo status, demo logs tracer" in err


def test_spans_are_shown_without_the_log_store() -> None:
    """A log store that is down costs only the log records, and a remark says so."""
    view, _ = gather(ScriptedBackends(slow(), logs_available=False))
    assert (len(view.spans), len(view.exemplars), view.logs) == (4, 2, [])
    assert view.remarks == ("no log lines, because logger: refused",)


def test_last_error_is_followed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--last-error`` follows the newest failed request of any service of the last hour."""
    backends = ScriptedBackends(slow())
    older = replace(span(ROOT, ""), trace_id=OTHER_TRACE)
    backends.failed_requests = [span(ROOT, "", service="shopfront"), older]
    monkeypatch.setattr(connect, "create_backends", lambda: backends)
    assert asyncio.run(follow.follow(last_error=True)) == 0
    query, start, end = backends.queries[0]
    assert query == "request_spans"
    assert end - start == 3600
    out, err = capsys.readouterr()
    assert out.startswith(f"Trace {TRACE}\n")
    assert "\x1b" not in out
    assert re.fullmatch(r"The newest failure is \d+ min old\.\n", err), (
        "an old failure may not be the one that the user means"
    )


def test_a_failure_that_is_dated_ahead_is_the_last_resort() -> None:
    """A failed request of a service whose clock is ahead is found if nothing else has failed."""
    backends = ScriptedBackends(None)
    awaited: list[str] = []
    now = time.time_ns()
    ahead = replace(span(ROOT, ""), start=now + 7200 * 10**9, end=now + 7201 * 10**9)
    backends.failed_requests = [ahead]
    newest = gathering.newest_failure(cast("Backends", backends), awaited.append)
    assert asyncio.run(newest) == TRACE
    backends.failed_requests = [ahead, replace(ahead, trace_id=OTHER_TRACE, start=now, end=now)]
    newest = gathering.newest_failure(cast("Backends", backends), awaited.append)
    assert asyncio.run(newest) == OTHER_TRACE
    assert awaited == []


def test_no_failure_says_how_to_make_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a failure in the last hour the command exits with 1 and says what to type."""
    monkeypatch.setattr(gathering, "SEARCH_TIMEOUT_S", 0)
    monkeypatch.setattr(connect, "create_backends", lambda: ScriptedBackends(None))
    assert asyncio.run(follow.follow(last_error=True)) == 1
    assert "demo checkout --card gateway-timeout" in capsys.readouterr().err


def test_search_for_a_failure_is_repeated() -> None:
    """An empty search is repeated, because a new trace can be found only after a second or two."""
    backends = ScriptedBackends(None)
    awaited: list[str] = []

    def fail_meanwhile(reason: str) -> None:
        awaited.append(reason)
        backends.failed_requests = [span(ROOT, "")]

    newest = gathering.newest_failure(cast("Backends", backends), fail_meanwhile)
    assert asyncio.run(newest) == TRACE
    assert awaited == ["the trace store to find a failed request"]


@pytest.mark.parametrize(("trace_id", "last_error"), [(None, False), (TRACE, True)])
def test_exactly_one_trace_must_be_chosen(
    trace_id: str | None, capsys: pytest.CaptureFixture[str], *, last_error: bool
) -> None:
    """An id together with ``--last-error``, or neither, exits with 2 and says what to type."""
    assert asyncio.run(follow.follow(trace_id, last_error=last_error)) == 2
    assert "demo follow TRACE_ID" in capsys.readouterr().err


def test_log_records_of_a_span_without_an_end_are_queried() -> None:
    """A span that ends before its start does not exchange the ends of the queried time range."""
    view = moved_to_now(slow())
    root = replace(view.spans[0], parent_id="", end=0)
    backends = ScriptedBackends(replace(view, spans=[root]))
    gather(backends)
    ranges = [query[1:] for query in backends.queries]
    assert len(ranges) >= 2
    assert all(start <= 0 < root.start / 1e9 <= end for start, end in ranges)
