"""What the services say they had to drop: the names of the metric and of the log line are here and nowhere else in the demo."""

from collections import Counter

from three_pillar_demo.query.interface import Backends

METRIC, LABEL = "telemetry_dropped_total", "signal"
SIGNALS = {"traces": "spans", "logs": "lines"}
"""What is counted under which value of the label. Metrics that are dropped lose nothing: the next ones have the same sums."""
LINE = "telemetry dropped"
"""A part of the log line that says so."""


async def counted(backends: Backends, run: str, within: float) -> Counter[str]:
    """How many ``spans`` and ``lines`` the instances of ``run`` say they dropped."""
    found: Counter[str] = Counter()
    for (signal, instance), value in (
        await backends.counters(METRIC, (LABEL, "instance"), within=within)
    ).items():
        if instance.startswith(run) and signal in SIGNALS:
            found[SIGNALS[signal]] += round(value)
    return found


async def told(backends: Backends, start: float, end: float) -> bool:
    """Whether a log line says that something was dropped."""
    return bool(await backends.logs(start, end, text=LINE, limit=1))
