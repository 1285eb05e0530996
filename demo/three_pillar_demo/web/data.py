"""What the page asks, and what it draws of the answers: each question through the cache, so that all visitors share it."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import httpx2

from three_pillar_demo.load.manual_traffic import ManualTraffic
from three_pillar_demo.query.interface import (
    NANO,
    Backends,
    Exemplar,
    LogRecord,
    RedSample,
    ServiceCall,
    Span,
)
from three_pillar_demo.stack import health
from three_pillar_demo.terminal import printable
from three_pillar_demo.trace_view import explanation, follow, view
from three_pillar_demo.web import chart, formatting, waterfall
from three_pillar_demo.web.cache import Answer, Cache
from three_pillar_demo.web.view_state import View

Pair = tuple[str, str]
Between = tuple[float, float]
Reds = Answer[list[RedSample]]
Dots = Sequence[Exemplar]
ROUTES = {"checkout": "/checkout", "payment": "/charges"}
"""Whose requests are watched."""
PACE = {5: (2.0, 30.0), 15: (6.0, 60.0), 60: (30.0, 120.0)}
"""By the minutes that are shown: seconds between two values, and seconds that a rate is over."""
SHARES = (0.5, 0.95, 0.99)
UNKNOWN = RedSample(0.0, None, None, (None,) * len(SHARES))
LINES, FOUND, AROUND = 50, 200, 150.0
"""Lines that are shown, traces that a look for new purchases finds, seconds on either side of a request on its own chart."""
MOST = 1_000
"""Spans and lines of one request that are drawn: more is megabytes, each second."""


@dataclass(frozen=True)
class Panel:
    """A chart with its words; ``now`` are names, styles and the newest values; ``error`` says why there is nothing."""

    key: str
    title: str
    plot: chart.Plot
    now: list[tuple[str, str, str]]
    error: str = ""


Request = tuple[view.TraceView, list[str], list[waterfall.Row], str]
"""One request as its page shows it: all of it that is there, what is not there yet, its rows, and why it ended so."""


class Watch:
    """Asks for one page after the other."""

    def __init__(
        self, backends: Backends, cache: Cache, http: httpx2.AsyncClient, mode: str
    ) -> None:
        """``http`` looks at the components of ``mode``; nothing is asked yet."""
        self.backends, self.cache, self.http, self.mode = backends, cache, http, mode

    async def health(self) -> dict[str, Answer[Any]]:
        """The problems of each component, the ages of the pillars, the Collector's queues, the size of the file."""

        async def components() -> dict[str, str]:
            told = asyncio.ensure_future(
                self.backends.health()
            )  # it knows more, but may take longer to say so
            looking = health.problems(self.http, self.mode)
            found, _ = await asyncio.gather(looking, asyncio.wait([told], timeout=health.TIMEOUT))
            found |= told.result() if told.done() else {}
            told.cancel()
            return {name: problem for name, problem in found.items() if name != "web"}

        async def queues() -> dict[str, float]:
            found = await self.backends.counters("otelcol_exporter_queue_size", ["exporter"])
            return {
                exporter.rpartition("/")[2]: value for (exporter,), value in sorted(found.items())
            }

        asked: dict[str, Callable[[], Awaitable[Any]]] = {
            "components": components,
            "queues": queues,
        }
        asked |= {"ages": self.backends.freshness, "size": self.backends.size}
        return dict(
            zip(
                asked,
                await asyncio.gather(*(self.cache.ask(*each) for each in asked.items())),
                strict=True,
            )
        )

    async def panels(self, view: View) -> list[Panel]:
        """Rate, errors and durations of both services, up to now."""
        now, (step, window) = time.time(), PACE[view.minutes]
        start, end = (
            now - view.minutes * 60,
            now // step * step,
        )  # on a grid, so that what was drawn stays as it was

        async def red(about: Pair) -> Reds:
            wanted = partial(
                self.backends.red,
                *about,
                end - view.minutes * 60,
                end,
                step=step,
                window=window,
                shares=SHARES,
            )
            return await self.cache.ask((*about, view.minutes), wanted)

        dots = self.cache.ask(
            ("exemplars", view.minutes), lambda: self.backends.exemplars(start, now)
        )
        exemplars, answers = await asyncio.gather(dots, asyncio.gather(*map(red, ROUTES.items())))
        reds, span = dict(zip(ROUTES, answers, strict=True)), (start, now)
        shared = [
            _shared("rate", "Requests", 1.0, reds, span),
            _shared("errors", "Error ratio", 0.1, reds, span),
        ]
        return shared + [
            _durations(about, reds[about[0]], exemplars.value or [], span)
            for about in ROUTES.items()
        ]

    async def edges(self, view: View) -> Answer[list[ServiceCall]]:
        """Who called whom, over as long as a rate is."""
        now, (_, window) = time.time(), PACE[view.minutes]
        return await self.cache.ask(
            ("edges", window), lambda: self.backends.service_graph(now - window, now)
        )

    async def lines(self, view: View) -> Answer[list[LogRecord]]:
        """The newest log lines that the view asks for."""
        now, (service, severity, text) = time.time(), (view.service, view.severity, view.text)

        async def question() -> list[LogRecord]:
            start = now - view.minutes * 60
            return await self.backends.logs(
                start, now, service=service, severity=severity, text=text, limit=LINES
            )

        return await self.cache.ask(("lines", view.minutes, service, severity, text), question)

    async def recognise(self, till: ManualTraffic) -> None:
        """Tell ``till`` which of its purchases can be read by now."""
        if waiting := till.waiting():
            start, end = waiting[-1].time - 1, time.time() + 1
            found = await self.cache.ask(
                "found", lambda: self.backends.requests("checkout", start, end, limit=FOUND)
            )
            till.seen(found.value or [])

    async def request(self, trace_id: str) -> Answer[Request]:
        """One request, as much of it as is there."""

        async def question() -> Request:
            told, awaited = await follow.fetch(self.backends, trace_id)
            drawn, why = await asyncio.to_thread(
                lambda: (list(islice(waterfall.rows(told), MOST)), explanation.explain(told))
            )
            count = len(told.spans) + len(told.logs)
            many = (
                (f"The first {MOST:,} of its {count:,} spans and lines are drawn.",)
                if count > MOST
                else ()
            )
            return replace(told, remarks=(*told.remarks, *many)), awaited, drawn, why

        return await self.cache.ask(("trace", trace_id), question)

    async def place(self, told: view.TraceView) -> Panel | None:
        """The duration chart around a request, with its own dot in it; None where its route is not on record."""
        root = root_of(told)
        route = str(root.attributes.get("http.route", "")) if root else ""
        if root is None or not route:
            return None
        at, (step, window) = root.start / NANO, PACE[5]
        start, end = at - AROUND, min(at + AROUND, max(time.time(), at + step))

        async def question() -> tuple[list[RedSample], Dots]:
            between = (start // step * step, end // step * step)
            asked = self.backends.red(
                root.service, route, *between, step=step, window=window, shares=SHARES
            )
            return await asyncio.gather(asked, self.backends.exemplars(start, end))

        answer = await self.cache.ask(("place", told.trace_id), question)
        reds, dots = answer.value or ([], [])
        measured = [
            each.value for each in told.exemplars if each.labels.get("service_name") == root.service
        ]
        took = next(filter(math.isfinite, measured), (root.end - root.start) / NANO)
        mine = chart.Mine(told.trace_id, root.end / NANO, took)
        return _durations(
            (root.service, route), Answer(reds, answer.error), dots, (start, end), mine
        )


def root_of(told: view.TraceView) -> Span | None:
    """The first span that nobody of the trace called."""
    known = {span.span_id for span in told.spans}
    return next((span for span in told.spans if span.parent_id not in known), None)


def _shared(key: str, title: str, least: float, reds: Mapping[str, Reds], span: Between) -> Panel:
    """One chart of both services: of one, there may be no answer."""
    say = formatting.rate if key == "rate" else formatting.ratio
    times = sorted({red.time for answer in reds.values() for red in answer.value or []})
    known = {
        service: {red.time: getattr(red, key) for red in answer.value or []}
        for service, answer in reds.items()
    }
    lines = [
        chart.Line(service, service, [values.get(at) for at in times])
        for service, values in known.items()
    ]
    plot = chart.draw(*span, times, lines, say, least=least)
    now = [
        (service, service, say(getattr((answer.value or [UNKNOWN])[-1], key)))
        for service, answer in reds.items()
    ]
    return Panel(
        key, title, plot, now, next((each.error for each in reds.values() if each.error), "")
    )


def _durations(
    about: Pair, answer: Reds, exemplars: Dots, span: Between, mine: chart.Mine | None = None
) -> Panel:
    """The quantiles and dots of a service's route; around ``mine``, with its place, and with what was usual then."""
    service, reds = printable(about[0], 64), answer.value or []
    names = [f"p{share * 100:.0f}" for share in SHARES]
    lines = [
        chart.Line(name, f"{service} {name}", [red.quantiles[at] for red in reds])
        for at, name in enumerate(names)
    ]
    dots = [
        each
        for each in exemplars
        if (each.labels.get("service_name"), each.labels.get("http_route")) == about
    ]
    times, say = [red.time for red in reds], formatting.seconds
    least = max(0.5, 0.0, *filter(math.isfinite, mine.bucket if mine else ()))
    plot = chart.draw(*span, times, lines, say, least=least, exemplars=dots, mine=mine)
    then = next((red for red in reds if mine and red.time >= mine.time), (reds or [UNKNOWN])[-1])
    now = [
        (line.name, line.style, say(value))
        for line, value in zip(lines, then.quantiles, strict=True)
    ]
    if mine:
        now += [
            ("bucket", "bucket", formatting.between(*mine.bucket)),
            ("moment", "moment", formatting.clock(mine.time)),
        ]
    title = f"Duration of {service}" + (f" {printable(about[1], 80)}" if mine else "")
    return Panel(f"duration-{service}", title, plot, now, answer.error)
