"""Reads how many telemetry items the services report as dropped.

The services report drops in a metric and in a log record. No other module of the demo uses the name
of that metric or the text of that log record.
"""

from collections import Counter

from three_pillar_demo.chaos.kinds import LOG_RECORDS, SPANS
from three_pillar_demo.query.interface import Backends

METRIC = "telemetry_dropped_total"
"""The counter of the items that a service has dropped instead of exporting them."""
LABEL = "signal"
"""The label of ``METRIC`` that names the signal: ``traces`` or ``logs``."""
KIND_BY_SIGNAL = {"traces": SPANS, "logs": LOG_RECORDS}
"""The kind of item (``kinds.KINDS``) that is counted under each value of ``LABEL``.

The services do not count dropped metrics. A dropped batch of metrics loses nothing, because
counters are cumulative and the next batch contains their whole sums.
"""
LOG_TEXT = "telemetry dropped"
"""The text by which the log record that reports drops is found."""


async def dropped_counts(backends: Backends, run: str, within_s: float) -> Counter[str]:
    """Return how many items the services of a rehearsal have dropped, by kind (``kinds.KINDS``).

    ``run`` is the prefix of the instance names of these services; other instances are left out.
    Only counters that were reported within the last ``within_s`` seconds are used.
    """
    values = await backends.counters(METRIC, (LABEL, "instance"), within=within_s)
    dropped: Counter[str] = Counter()
    for (signal, instance), value in values.items():
        if instance.startswith(run) and signal in KIND_BY_SIGNAL:
            dropped[KIND_BY_SIGNAL[signal]] += round(value)
    return dropped


async def drop_was_logged(backends: Backends, start: float, end: float) -> bool:
    """Return whether a log record from ``start`` to ``end`` (epoch seconds) reports drops."""
    return bool(await backends.logs(start, end, text=LOG_TEXT, limit=1))
