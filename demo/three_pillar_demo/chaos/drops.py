"""What the services report as dropped.

Nothing else in the demo knows the names of this metric and of this log record.
"""

from collections import Counter

from three_pillar_demo.chaos.kinds import LOG_RECORDS, SPANS
from three_pillar_demo.query.interface import Backends

METRIC = "telemetry_dropped_total"
LABEL = "signal"
KIND_BY_SIGNAL = {"traces": SPANS, "logs": LOG_RECORDS}
"""The kind of item that each value of the label counts.

Dropped metrics lose nothing, because the next export has the same sums.
"""
LOG_TEXT = "telemetry dropped"
"""A part of the log record that reports drops."""


async def dropped_counts(backends: Backends, run: str, within_s: float) -> Counter[str]:
    """Return by kind how many items the instances of ``run`` report as dropped."""
    values = await backends.counters(METRIC, (LABEL, "instance"), within=within_s)
    dropped: Counter[str] = Counter()
    for (signal, instance), value in values.items():
        if instance.startswith(run) and signal in KIND_BY_SIGNAL:
            dropped[KIND_BY_SIGNAL[signal]] += round(value)
    return dropped


async def drop_was_logged(backends: Backends, start: float, end: float) -> bool:
    """Return whether a log record reports drops between two times."""
    return bool(await backends.logs(start, end, text=LOG_TEXT, limit=1))
