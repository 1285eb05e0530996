"""Ranges of times in a file of telemetry, and how old and how new times a backend accepts."""

from dataclasses import dataclass

from three_pillar_demo.query.interface import NANO, RETENTION_S
from three_pillar_demo.stack import state

HOUR_NS = 3600 * NANO
EARLIEST_NS = 10**18
"""A time in September 2001, in nanoseconds since the epoch: nothing in OpenTelemetry is older.

An earlier time is a mistake, such as milliseconds in place of nanoseconds.
"""
MAX_PLAUSIBLE_AHEAD_NS = 24 * HOUR_NS
"""How far ahead of this machine's clock, in nanoseconds, the clock of another machine may be."""
MAX_AHEAD_NS = 300 * NANO
"""How far ahead of this machine's clock, in nanoseconds, times are not moved: clocks differ."""


@dataclass(frozen=True)
class AgeLimits:
    """The ages, in nanoseconds, from which the times of a file are moved.

    ``records_ns`` is the one of spans and log records, ``points_ns`` the one of metric points. Both
    are an hour below what the backends keep or accept, because what is imported is to be seen for a
    while.
    """

    records_ns: int
    points_ns: int


LOCAL_STORE_LIMITS = AgeLimits(int(RETENTION_S) * NANO - HOUR_NS, points_ns=5 * HOUR_NS)
"""The local store keeps points for 6 hours."""
COLLECTOR_LIMITS = AgeLimits(records_ns=23 * HOUR_NS, points_ns=23 * HOUR_NS)
"""The Collector replaces the time of a log record that is over 24 hours old, and so separates it
from its span; it drops metric points of that age."""


def age_limits(mode: str) -> AgeLimits:
    """Return the limits of the stack in ``mode``, a result of ``connect.running_mode``."""
    return LOCAL_STORE_LIMITS if mode in state.LOCAL_STORE_MODES else COLLECTOR_LIMITS


@dataclass
class TimeRange:
    """The oldest and the newest of some times, in nanoseconds since the epoch; 0 without any."""

    oldest: int = 0
    newest: int = 0

    def add(self, time_ns: int) -> None:
        """Extend the range so that it contains ``time_ns``."""
        self.oldest = min(self.oldest or time_ns, time_ns)
        self.newest = max(self.newest, time_ns)


def is_plausible(time_ns: int, now_ns: int) -> bool:
    """Return whether a clock can have shown ``time_ns`` at any time before ``now_ns``.

    A clock that is up to a day ahead is plausible too.
    """
    return EARLIEST_NS <= time_ns <= now_ns + MAX_PLAUSIBLE_AHEAD_NS
