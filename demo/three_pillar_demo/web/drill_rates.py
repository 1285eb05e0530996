"""The rates of services while the traffic of a drill begins.

The shop is idle before a drill. Divided by a window that began before the drill, its steady traffic
would seem to grow.
"""

from collections.abc import Sequence
from dataclasses import replace

from three_pillar_demo.query.beginning import covered_seconds
from three_pillar_demo.query.interface import RedSample
from three_pillar_demo.query.service_figures import ServiceRed
from three_pillar_demo.web.drill_marks import DrillMark


def since_drills(red: ServiceRed, marks: Sequence[DrillMark]) -> ServiceRed:
    """Return ``red`` with rates that are divided by the time since a drill's traffic began.

    This is so in the first window of each drill before which the service was idle; the rates of a
    service that had requests before are what they were.
    """
    begins = [_begin(red, mark.time) for mark in marks if mark.is_start]
    known = [begin for begin in begins if begin is not None]
    return replace(
        red, samples=tuple(_since_begin(sample, red.window, known) for sample in red.samples)
    )


def _begin(red: ServiceRed, start: float) -> float | None:
    """Return the time of the last sample without requests before those of the drill.

    The result is None if the service had requests before ``start``, when the drill began, or has
    had none since then.
    """
    before = [sample for sample in red.samples if sample.time <= start]
    if not before or before[-1].rate != 0:
        return None
    idle = before[-1]
    for sample in red.samples[len(before) :]:
        if sample.rate:
            return idle.time
        idle = sample
    return None


def _since_begin(sample: RedSample, window_s: float, begins: Sequence[float]) -> RedSample:
    newest = max((begin for begin in begins if begin < sample.time), default=None)
    covered_s = covered_seconds(sample.time, window_s, newest)
    # Where the data themselves begin later, the rate is right already.
    if not sample.rate or sample.covered_s or covered_s >= window_s:
        return sample
    return replace(sample, rate=sample.rate * window_s / covered_s, covered_s=covered_s)
