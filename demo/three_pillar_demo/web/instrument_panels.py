"""The charts of one instrument: its rate or value, and its quantiles, by the values of a label."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from three_pillar_demo.query.instruments import (
    GAUGE,
    HISTOGRAMS,
    SUMMARY,
    Group,
    Instrument,
    InstrumentSeries,
    Line,
)
from three_pillar_demo.query.interface import Exemplar
from three_pillar_demo.terminal import printable
from three_pillar_demo.trace_view.names import named, service_text
from three_pillar_demo.web import chart, units
from three_pillar_demo.web.panels import MIN_RANGE_S, LegendEntry, Panel, TimeRange
from three_pillar_demo.web.quantile_support import supported_group
from three_pillar_demo.web.rate_ticks import rate_ticks
from three_pillar_demo.web.service_classes import ServiceColours

MAX_NAME = 48
"""The number of characters of a label's value that a legend shows."""
MAX_READOUT_NAME = 24
"""The number of characters of a label's value that the values under the pointer show."""
NO_LABEL = "without"
"""The name of the series that do not have the chosen label."""
DASHES = ("", " p95", " p99")
"""The CSS classes of solid, dashed and dotted lines, for lines of the same colour."""
QUANTILE_DASHES = (" p50", " p95", " p99")
"""The CSS classes of the lowest, the middle and the highest quantiles."""
DEFAULT_QUANTILE = "p95"
ROUNDING_TOLERANCE = 1e-9
MAX_QUANTILES = 12
"""The number of quantiles of a summary that are drawn."""


@dataclass(frozen=True)
class _Formats:
    """The functions that format the values of a chart, and that make and format its ticks."""

    value: units.Formatter
    ticks: chart.Ticks

    @classmethod
    def of(cls, unit: str, name: str, *, per_second: bool = False) -> "_Formats":
        """Return the functions for values in ``unit`` of the metric ``name``."""
        return cls(
            units.formatter(unit, name, per_second=per_second),
            chart.Ticks(
                units.tick_formatter(unit, name, per_second=per_second),
                partial(units.tick_unit, unit),
            ),
        )


@dataclass(frozen=True)
class InstrumentChart:
    """What the charts of one instrument are drawn from.

    Attributes:
        instrument: The instrument.
        series: Its values.
        exemplars: Its exemplars.
        by: The label whose values make the groups; empty for one group.
        quantile: The quantile to draw for each group; empty for the default.
        time_range: The start and the end of the time axis, in seconds since the epoch.
        error: Why data are missing; empty if none are missing.
        colours: The colours that services and other groups had before.
    """

    instrument: Instrument
    series: InstrumentSeries
    exemplars: Sequence[Exemplar]
    by: str
    quantile: str
    time_range: TimeRange
    error: str = ""
    colours: ServiceColours = field(default_factory=ServiceColours)

    @cached_property
    def panels(self) -> list[Panel]:
        """The charts: one of a counter or gauge, two of a histogram or summary."""
        first_line = [line for group in self.series.groups for line in group.lines[:1]]
        if self.instrument.kind not in (*HISTOGRAMS, SUMMARY):
            statistic = first_line[0].statistic if first_line else ""
            return [self._value_panel(statistic)]
        return [self._value_panel("rate"), self._quantile_panel()]

    @cached_property
    def groups(self) -> Sequence[Group]:
        """The groups; those of a histogram without quantiles of too few measurements."""
        if self.instrument.kind not in HISTOGRAMS:
            return self.series.groups
        return [supported_group(group, self.series) for group in self.series.groups]

    @cached_property
    def quantiles(self) -> list[str]:
        """The names of the quantiles, the lowest first; ``MAX_QUANTILES`` of them at most."""
        names = {
            line.statistic: None
            for group in self.series.groups
            for line in group.lines
            if line.statistic != "rate"
        }
        in_order = sorted(names, key=lambda name: float(name[1:]))
        last = MAX_QUANTILES - 1
        if len(in_order) <= last:
            return in_order
        return [in_order[number * (len(in_order) - 1) // last] for number in range(last + 1)]

    def axis_begin(self) -> str:
        """Return where the axis of the value begins, as text; empty if that is at zero or below."""
        bottom = self.panels[0].plot.bottom
        return self._formats().value(bottom) if bottom > 0 else ""

    def shown_quantile(self) -> str:
        """Return the quantile that is drawn for each group: the chosen one, or the default."""
        names = self.quantiles
        for wanted in (self.quantile, DEFAULT_QUANTILE):
            if wanted in names:
                return wanted
        return names[-1] if names else DEFAULT_QUANTILE

    def _value_panel(self, statistic: str) -> Panel:
        kind = self.instrument.kind
        is_rate = statistic == "rate" or kind not in (GAUGE, "up_down_counter")
        is_count = kind in (*HISTOGRAMS, SUMMARY)
        formats = self._formats(per_second=is_rate)
        if is_count:
            formats = _Formats.of("", "", per_second=True)
        title = "Increase" if is_rate else "Value"
        if is_count:
            title = "Measurements"
        # The exemplar of a counter or of a count has no place on the axis of the rate.
        exemplars = [] if is_count else self.exemplars
        if kind != GAUGE:
            exemplars = [replace(exemplar, value=0.0) for exemplar in exemplars]
        return self._panel("instrument-value", title, statistic, formats, exemplars)

    def _quantile_panel(self) -> Panel:
        formats = self._formats()
        if self.by:
            quantile = self.shown_quantile()
            return self._panel("instrument-quantiles", quantile, quantile, formats, self.exemplars)
        lines = [line for group in self.groups for line in group.lines]
        shown = [line for line in lines if line.statistic in self.quantiles]
        colour = self._classes([""])[""]
        classes = {
            # The lowest one is solid, the highest one dotted.
            line.statistic: colour + QUANTILE_DASHES[2 * index // max(1, len(shown) - 1)]
            for index, line in enumerate(shown)
        }
        if len(shown) > len(QUANTILE_DASHES):
            classes = _distinct_classes(list(classes), self.colours)
        named = [(line.statistic, classes[line.statistic], line) for line in shown]
        return self._draw("instrument-quantiles", "Quantiles", named, formats, self.exemplars)

    def _panel(
        self,
        key: str,
        title: str,
        statistic: str,
        formats: _Formats,
        exemplars: Sequence[Exemplar],
    ) -> Panel:
        """Return a chart with one line for each group."""
        groups = sorted(self.groups, key=lambda group: group.value)
        classes = self._classes([group.value for group in groups])
        named = [
            (self._name(group, statistic), classes[group.value], line)
            for group in groups
            for line in group.lines
            if line.statistic == statistic
        ]
        by = f" by {printable(self.by, MAX_NAME)}" if self.by else ""
        return self._draw(key, title + by, named, formats, exemplars)

    def _draw(
        self,
        key: str,
        title: str,
        named: Sequence[tuple[str, str, Line]],
        formats: _Formats,
        exemplars: Sequence[Exemplar],
    ) -> Panel:
        start = self._start()
        data = chart.ChartData(
            start,
            self.time_range[1],
            self.series.times,
            [
                chart.Series(printable(name, MAX_READOUT_NAME), css_class, line.values)
                for name, css_class, line in named
            ],
            exemplars,
        )
        ticks = formats.ticks
        if formats.value is units.rate:
            ticks = rate_ticks(value for _, _, line in named for value in line.values)
        legend = [
            LegendEntry(name, css_class, formats.value(line.values[-1] if line.values else None))
            for name, css_class, line in named
        ]
        return Panel(
            key,
            title,
            chart.draw_chart(
                data,
                formats.value,
                min_top=0.0,
                from_zero=self.instrument.kind != GAUGE,
                ticks=ticks,
            ),
            legend,
            self.error,
            start if start > self.time_range[0] else 0.0,
            dot_text=self._dot_text,
        )

    def _start(self) -> float:
        """Return the time of the first value or dot, at least ``MIN_RANGE_S`` before the end.

        All charts of an instrument begin at the same time.
        """
        start, end = self.time_range
        times = [
            time
            for group in self.series.groups
            for line in group.lines
            for time, value in zip(self.series.times, line.values, strict=True)
            if value is not None
        ]
        times += [exemplar.time for exemplar in self.exemplars]
        in_range = [time for time in times if start <= time <= end]
        return min(*in_range, end - MIN_RANGE_S) if in_range else start

    def _name(self, group: Group, statistic: str) -> str:
        if not self.by:
            return "all series" if self.series.series_count > 1 else statistic
        return named(group.value, f"{NO_LABEL} {printable(self.by, MAX_NAME)}", MAX_NAME)

    def _classes(self, values: Sequence[str]) -> dict[str, str]:
        """Return the CSS classes of the line of each group, by the value of the label."""
        if not self.by:
            services = self.instrument.services
            name = services[0] if len(services) == 1 else self.instrument.name
            return dict.fromkeys(values, self.colours.of([name])[name])
        return _distinct_classes(values, self.colours)

    def _formats(self, *, per_second: bool = False) -> _Formats:
        """Return the functions that format the values of the instrument."""
        values = [
            abs(value)
            for group in self.series.groups
            for line in group.lines
            for value in line.values
            if value is not None
        ]
        # Prometheus adds ``_ratio`` to the name of every gauge with the unit 1. Averages are not
        # exact.
        is_ratio = max(values, default=0.0) <= 1 + ROUNDING_TOLERANCE
        name = self.instrument.name if is_ratio else ""
        return _Formats.of(self.instrument.unit, name, per_second=per_second)

    def _dot_text(self, exemplar: Exemplar) -> str:
        service = service_text(exemplar.labels.get("service_name", ""), 64)
        formatter = self._formats().value
        is_value = self.instrument.kind in (GAUGE, *HISTOGRAMS)
        return f"{service}: {formatter(exemplar.value)}" if is_value else service


def _distinct_classes(names: Sequence[str], colours: ServiceColours) -> dict[str, str]:
    """Return the CSS classes of lines, by name, which differ in colour or in their dashes."""
    classes = colours.of(names)
    uses: Counter[str] = Counter()
    for name in names:
        colour = classes[name]
        classes[name] = colour + DASHES[min(uses[colour], len(DASHES) - 1)]
        uses[colour] += 1
    return {name: classes[name] for name in names}
