"""The list of instruments on the page of metrics: searched, and grouped by how names begin."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from three_pillar_demo.query.instruments import (
    COUNTER,
    EXPONENTIAL_HISTOGRAM,
    GAUGE,
    HISTOGRAM,
    SUMMARY,
    UP_DOWN_COUNTER,
    Instrument,
)
from three_pillar_demo.web.metric_state import MetricState
from three_pillar_demo.web.units import unit_text

MAX_ROWS = 300
"""The number of instruments that the page lists."""
MAX_SHORT = 40
"""The number of instruments up to which all groups are open beside a chart."""
MAX_SERVICES = 500
"""The number of services that the page offers to choose from."""
MIN_GROUP = 2
"""The number of instruments from which a part of the name is a heading."""
OTHERS = "others"
"""The heading of the instruments that are in no other group."""
KIND_TEXTS = {
    COUNTER: "counter",
    UP_DOWN_COUNTER: "up-down counter",
    GAUGE: "gauge",
    HISTOGRAM: "histogram",
    EXPONENTIAL_HISTOGRAM: "exponential histogram",
    SUMMARY: "summary",
}
"""The name of each kind of instrument."""


@dataclass(frozen=True)
class InstrumentRow:
    """An instrument in the list.

    Attributes:
        instrument: The instrument.
        kind: The name of its kind.
        unit: Its unit in words.
        series: The number of its series; 0 if that of the chosen service is not known.
        query: The query string of the address that shows it.
        is_chosen: Whether the page shows its chart.
    """

    instrument: Instrument
    kind: str
    unit: str
    series: int
    query: str
    is_chosen: bool = False


@dataclass(frozen=True)
class InstrumentList:
    """The instruments that the page lists.

    Attributes:
        groups: The heading and the rows of each group; the heading is empty if there is one group.
        more: The number of matching instruments that are not listed.
        services: The printable names of the services that send metrics, sorted.
        is_short: Whether the list is short enough to be shown with all groups open.
    """

    groups: Sequence[tuple[str, list[InstrumentRow]]]
    more: int
    services: list[str]
    is_short: bool = True


def instrument_list(
    instruments: Sequence[Instrument], state: MetricState, chosen: Instrument | None
) -> InstrumentList:
    """Return the instruments that match ``state``, with the ``chosen`` one marked."""
    matching = [instrument for instrument in instruments if _matches(instrument, state)]
    groups: dict[str, list[InstrumentRow]] = defaultdict(list)
    listed = matching[:MAX_ROWS]
    prefixes = [_prefix(instrument) for instrument in listed]
    names = Counter(instrument.name for instrument in matching)
    for instrument, prefix in zip(listed, prefixes, strict=True):
        heading = prefix if prefixes.count(prefix) >= MIN_GROUP else OTHERS
        row = _row(instrument, state, chosen)
        if names[instrument.name] > 1 and instrument.services:
            # Services that mean different things by one name are told apart by the service.
            query = state.query(
                metric=instrument.name, by="", quantile="", service=instrument.services[0]
            )
            row = replace(row, query=query)
        groups[heading].append(row)
    headings = sorted(groups, key=lambda heading: (heading == OTHERS, heading))
    services = {service for instrument in instruments for service in instrument.services}
    choices = sorted(name for name in services | {state.service} if name and name.isprintable())
    return InstrumentList(
        [(heading if len(headings) > 1 else "", groups[heading]) for heading in headings],
        len(matching) - len(listed),
        choices[:MAX_SERVICES],
        len(listed) <= MAX_SHORT,
    )


def find_instrument(instruments: Iterable[Instrument], state: MetricState) -> Instrument | None:
    """Return the instrument that ``state`` has chosen, by either name; None if there is none."""
    found = [
        instrument
        for instrument in instruments
        if state.metric in (instrument.name, instrument.prometheus_name)
        and (not state.service or state.service in instrument.services)
    ]
    return found[0] if found and state.metric else None


def _matches(instrument: Instrument, state: MetricState) -> bool:
    if state.service and state.service not in instrument.services:
        return False
    fields = (
        instrument.name,
        instrument.prometheus_name,
        instrument.description,
        instrument.unit,
        KIND_TEXTS.get(instrument.kind, instrument.kind),
    )
    text = "\n".join(fields).casefold()
    return all(word in text for word in state.find.casefold().split())


def _prefix(instrument: Instrument) -> str:
    """Return the part of the name before the first dot or underscore."""
    return re.split(r"[._]", instrument.name, maxsplit=1)[0]


def _row(instrument: Instrument, state: MetricState, chosen: Instrument | None) -> InstrumentRow:
    # The label of one metric says nothing about another one.
    return InstrumentRow(
        instrument,
        KIND_TEXTS.get(instrument.kind, instrument.kind),
        unit_text(instrument.unit),
        0 if state.service and len(instrument.services) > 1 else instrument.series,
        state.query(metric=instrument.name, by="", quantile=""),
        instrument == chosen,
    )
