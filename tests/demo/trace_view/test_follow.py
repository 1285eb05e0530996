"""Following a trace: which ids are taken, how long it waits and for what, and what it says when there is nothing."""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, cast

import pytest

from tests.traces import CALL, CHARGE, ROOT, TRACE, slow, span
from three_pillar_demo.query import connect
from three_pillar_demo.query.interface import BackendError, Backends, Exemplar, LogRecord, Span
from three_pillar_demo.trace_view import follow
from three_pillar_demo.trace_view.view import TraceView


class Scripted:
    """Backends that tell one story after the other, then the last one again; None is a store without the trace."""

    names: Mapping[str, str] = {
        "traces": "the trace store",
        "logs": "the log store",
        "metrics": "the metric store",
    }
    components: Mapping[str, str] = {"traces": "tracer", "logs": "logger", "metrics": "meter"}

    def __init__(self, *stories: TraceView | None, logs: bool = True) -> None:
        """Tell ``stories`` in this order; without ``logs``, nobody answers for them."""
        self.logs = logs
        self.stories = list(stories)
        self.asked: list[tuple[Any, ...]] = []
        self.found: list[str] = []

    async def __aenter__(self) -> Self:
        """Nothing to open."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""

    async def trace(self, trace_id: str) -> list[Span]:
        """The next story's spans."""
        assert trace_id == TRACE
        self.now = self.stories.pop(0) if len(self.stories) > 1 else self.stories[0]
        return self.now.spans if self.now else []

    async def trace_logs(self, trace_id: str, start: float, end: float) -> list[LogRecord]:
        """Its lines."""
        self.asked.append((trace_id, start, end))
        if not self.logs:
            raise BackendError("logger: refused")
        return self.now.lines if self.now else []

    async def exemplars(self, start: float, end: float) -> list[Exemplar]:
        """Its exemplars, and one of another trace."""
        self.asked.append(("exemplars", start, end))
        return [Exemplar("f" * 32, 1.0, start, {}), *(self.now.exemplars if self.now else [])]

    async def requests(self, service: str, start: float, end: float, *, failed: bool) -> list[str]:
        """What the test put there."""
        assert failed
        self.asked.append((service, start, end))
        return self.found


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "POLL", 0)


def gather(backends: Scripted) -> tuple[TraceView, list[str]]:
    """What was found, and what was awaited until then, each thing once."""
    said: dict[str, None] = {}
    story = asyncio.run(
        follow.gather(cast("Backends", backends), TRACE, lambda reason: said.update({reason: None}))
    )
    return story, list(said)


def just_now(story: TraceView) -> TraceView:
    """The same story, told of a purchase that ends this second."""
    later = time.time_ns() - max(span.end for span in story.spans)
    return replace(
        story,
        spans=[
            replace(each, start=each.start + later, end=each.end + later) for each in story.spans
        ],
    )


def without(story: TraceView, service: str) -> TraceView:
    """The same story, before anything of ``service`` has come."""
    spans = [each for each in story.spans if each.service != service]
    return replace(
        story, spans=spans, lines=[each for each in story.lines if each.service != service]
    )


@pytest.mark.parametrize(
    "text", [TRACE, TRACE.upper(), f" {TRACE}\n", f"00-{TRACE}-b7ad6b7169203331-01"]
)
def test_a_trace_id_is_taken_in_any_case_and_from_a_header(text: str) -> None:
    """32 hex digits, or a whole ``traceresponse``, become the id in its one spelling."""
    assert follow.parse_trace_id(text) == TRACE


@pytest.mark.parametrize(
    "text", ["", "xyz", TRACE[:-1], TRACE + "0", "0x" + TRACE, "0" * 32, "\x1b[2J", "\u0966" * 32]
)
def test_anything_else_is_refused_with_what_to_type(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is no trace id ends with 2 and one line that says what one looks like and how to get one."""
    assert asyncio.run(follow.follow(text)) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert "32 hex digits" in err
    assert "demo checkout" in err
    assert "\x1b" not in err


def test_a_whole_trace_is_shown_at_once() -> None:
    """Nothing is awaited when everything is there; exemplars of other traces are left out."""
    backends = Scripted(slow())
    story, said = gather(backends)
    assert (story, said) == (slow(), [])
    assert [what for what, _, _ in backends.asked] == [TRACE, "exemplars"]


def test_it_waits_for_the_late_half_of_a_trace() -> None:
    """Payment's span, its line and an exemplar come later than the rest: each is named while it is awaited."""
    whole = just_now(slow())
    backends = Scripted(
        None,
        without(whole, "payment"),
        replace(whole, lines=[each for each in whole.lines if each.service != "payment"]),
        replace(whole, exemplars=whole.exemplars[:1]),
        whole,
    )
    story, said = gather(backends)
    assert story == whole
    assert said == [
        "the trace store to have the trace",
        "the span at the other end of checkout's call to http://127.0.0.1:8001/charges",
        "payment's log line of POST /charges",
        "the metric store to have an exemplar of it",
    ]


def test_what_is_long_overdue_is_a_remark() -> None:
    """An old trace that lacks something is shown at once, and says what is missing."""
    story, said = gather(Scripted(without(slow(), "payment")))
    assert not said
    assert len(story.spans) == 3
    awaited = "the span at the other end of checkout's call to http://127.0.0.1:8001/charges"
    assert story.remarks == (f"not here: {awaited}. If it is only late, ask again",)


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace that never becomes whole, by a clock that is ahead, is shown when patience is over."""
    monkeypatch.setattr(follow, "PATIENCE", 0)
    ahead = just_now(without(slow(), "payment"))
    ahead = replace(
        ahead, spans=[replace(each, end=each.end + 3600 * 10**9) for each in ahead.spans]
    )
    assert gather(Scripted(ahead))[0].remarks


def test_a_call_that_reached_nobody_is_not_awaited() -> None:
    """A refused connection has no other end, so its trace is whole without one."""
    call = span(CALL, ROOT, "CLIENT", error=True, attributes={"error.type": "ConnectError"})
    assert not list(follow.missing_spans([span(ROOT, ""), call]))


def test_a_missing_parent_is_named() -> None:
    """Spans whose parent has not come are waited for by the child's name."""
    orphan = span(CHARGE, CALL, service="payment", name="POST /charges")
    assert list(follow.missing_spans([orphan])) == ["the parent of payment's span POST /charges"]


def test_a_trace_nobody_has_is_a_clear_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After its patience the command ends with 1, naming the backend and what to check."""
    monkeypatch.setattr(follow, "PATIENCE", 0)
    monkeypatch.setattr(connect, "backends", lambda: Scripted(None))
    assert asyncio.run(follow.follow(TRACE)) == 1
    out, err = capsys.readouterr()
    assert not out
    assert f"the trace store does not have trace {TRACE}" in err
    assert "demo status, demo logs tracer" in err


def test_without_log_lines_the_spans_are_shown() -> None:
    """A backend that is down costs its own part only, and the remark says which."""
    story, _ = gather(Scripted(slow(), logs=False))
    assert (len(story.spans), len(story.exemplars), story.lines) == (4, 2, [])
    assert story.remarks == ("no log lines, because logger: refused",)


def test_the_last_error_is_followed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--last-error`` asks for checkout's failed requests of the last hour and follows the newest."""
    backends = Scripted(slow())
    backends.found = [TRACE, "f" * 32]
    monkeypatch.setattr(connect, "backends", lambda: backends)
    assert asyncio.run(follow.follow(last_error=True)) == 0
    service, start, end = backends.asked[0]
    assert service == "checkout"
    assert end - start == 3600
    out, err = capsys.readouterr()
    assert out.startswith(f"Trace {TRACE}\n")
    assert "\x1b" not in out
    assert re.fullmatch(r"The newest failure is \d+ min old\.\n", err), (
        "it may be another one than the person means"
    )


def test_no_error_says_how_to_make_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a failure in the last hour the command ends with 1 and says what to type."""
    monkeypatch.setattr(follow, "SEARCH", 0)
    monkeypatch.setattr(connect, "backends", lambda: Scripted(None))
    assert asyncio.run(follow.follow(last_error=True)) == 1
    assert "demo checkout --card gateway-timeout" in capsys.readouterr().err


def test_a_failure_of_this_second_is_found() -> None:
    """A store may find a trace a little later than it has it, so an empty search is repeated."""
    backends = Scripted(None)
    said: list[str] = []

    def fail(reason: str) -> None:
        said.append(reason)
        backends.found = [TRACE]

    assert asyncio.run(follow.newest_failure(cast("Backends", backends), fail)) == TRACE
    assert said == ["the trace store to find a failed checkout"]


@pytest.mark.parametrize("arguments", [(None, False), (TRACE, True)])
def test_one_trace_is_asked_for(
    arguments: Sequence[object], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither an id nor ``--last-error``, or both, ends with 2 and says what to type."""
    trace_id, last_error = arguments
    assert asyncio.run(follow.follow(trace_id, last_error=last_error)) == 2  # type: ignore[arg-type]
    assert "demo follow TRACE_ID" in capsys.readouterr().err
