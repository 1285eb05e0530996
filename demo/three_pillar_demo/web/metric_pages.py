"""The page of metrics: every instrument that services send, and the values of one by label."""

import asyncio
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from three_pillar_demo.query.instruments import (
    COUNTER,
    GAUGE,
    HISTOGRAMS,
    SUMMARY,
    UP_DOWN_COUNTER,
    Instrument,
    InstrumentQuery,
    InstrumentSeries,
    LabelValues,
)
from three_pillar_demo.web.cache import QueryResult
from three_pillar_demo.web.data import PageData
from three_pillar_demo.web.instrument_list import KIND_TEXTS, find_instrument, instrument_list
from three_pillar_demo.web.instrument_panels import InstrumentChart
from three_pillar_demo.web.metric_state import MetricState
from three_pillar_demo.web.rendering import Render
from three_pillar_demo.web.resolution import RESOLUTIONS, on_grid
from three_pillar_demo.web.units import unit_text

LIST_LIFETIME_S = 5.0
"""How long the list of instruments is shown before it is queried again, in seconds."""
MAX_LABELS = 30
"""The number of labels that the page shows."""
HIDDEN_LABELS = {"job", "service_namespace"}
"""Labels that say nothing that another label does not say."""
SIZE_TEXTS = {
    COUNTER: "a larger increase",
    GAUGE: "a larger newest value",
    UP_DOWN_COUNTER: "a larger newest value",
}
"""What the values of a label are ordered by, to choose those that are drawn, for each kind."""


class MetricPages:
    """The handler of the page of metrics; ``render`` renders a template with its values."""

    def __init__(self, data: PageData, render: Render) -> None:
        self.data = data
        self.render = render

    async def metrics(self, request: Request) -> Response:
        """Answer ``GET /metrics``: the instruments, and the charts of the chosen one."""
        state = MetricState.parse(request.query_params)
        instruments, health = await asyncio.gather(self._instruments(state), self.data.health())
        chosen = find_instrument(instruments.value or [], state)
        chosen_chart = await self._chart(chosen, state) if chosen else None
        labels = _labels(chosen_chart.series.labels) if chosen_chart else []
        return self.render(
            "metrics.html",
            state=state.elsewhere(),
            view=state,
            health=health,
            error=instruments.error,
            listed=instrument_list(instruments.value or [], state, chosen),
            chosen=chosen,
            kind=KIND_TEXTS.get(chosen.kind, chosen.kind) if chosen else "",
            unit=unit_text(chosen.unit) if chosen else "",
            chart=chosen_chart,
            panels=chosen_chart.panels if chosen_chart else [],
            several=[label for label in labels if label.count > 1],
            common=[label for label in labels if label.count == 1],
            size_text=SIZE_TEXTS.get(chosen.kind, "more measurements") if chosen else "",
            has_quantiles=bool(chosen and chosen.kind in (*HISTOGRAMS, SUMMARY)),
            backend=self.data.backends.names["metrics"],
        )

    async def _instruments(self, state: MetricState) -> QueryResult[list[Instrument]]:
        async def query() -> list[Instrument]:
            now = time.time()
            return await self.data.backends.instruments(now - state.minutes * 60, now)

        return await self.data.cache.get(("instruments", state.minutes), query, LIST_LIFETIME_S)

    async def _chart(self, instrument: Instrument, state: MetricState) -> InstrumentChart:
        now = time.time()
        time_range = (now - state.minutes * 60, now)
        resolution = RESOLUTIONS[state.minutes]
        # Times on a grid keep what was drawn before where it was.
        end = on_grid(now, resolution.step)
        wanted = InstrumentQuery(
            instrument.name,
            instrument.kind,
            end - state.minutes * 60,
            end,
            step=resolution.step,
            window=resolution.window,
            service=state.service,
            by=state.by,
        )
        key: tuple[Any, ...] = (instrument.name, instrument.kind, state.service, state.minutes)
        backends = self.data.backends
        series, exemplars = await asyncio.gather(
            self.data.cache.get(
                ("instrument", *key, state.by), lambda: backends.instrument_series(wanted)
            ),
            self.data.cache.get(
                ("instrument_exemplars", *key), lambda: backends.instrument_exemplars(wanted)
            ),
        )
        return InstrumentChart(
            instrument,
            series.value or InstrumentSeries(),
            exemplars.value or [],
            state.by,
            state.quantile,
            time_range,
            series.error or exemplars.error,
            self.data.colours,
        )


def _labels(labels: tuple[LabelValues, ...]) -> list[LabelValues]:
    """Return the labels that the page shows; those that can be chosen come first."""
    shown = [label for label in labels if label.name not in HIDDEN_LABELS]
    return sorted(shown, key=lambda label: label.count == 1)[:MAX_LABELS]
