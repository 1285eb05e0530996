"""Tells how long ago a request ended, also if its sender's clock is ahead of this machine's."""

import time
from collections import OrderedDict

from three_pillar_demo.web.clock_ahead import seconds_ahead

MAX_TRACES = 1_000
"""The number of traces, those that were seen last, whose first sight is remembered."""


class TraceAges:
    """When traces that are dated ahead of this machine's clock were seen first."""

    def __init__(self) -> None:
        self.first_seen = OrderedDict[str, float]()

    def age(self, trace_id: str, end: float) -> float:
        """Return the seconds since a request ended.

        ``end`` is its end, in seconds since the epoch. If that is ahead of this machine's clock,
        the age counts from the time at which the trace was seen first.
        """
        now = time.time()
        if not seconds_ahead(end):
            return now - end
        first_seen = self.first_seen.setdefault(trace_id, now)
        self.first_seen.move_to_end(trace_id)
        if len(self.first_seen) > MAX_TRACES:
            self.first_seen.popitem(last=False)
        return now - first_seen
