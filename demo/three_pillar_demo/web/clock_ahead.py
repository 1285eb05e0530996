"""Tells which requests and log records are dated ahead of this machine's clock."""

import time

MAX_AHEAD_S = 24 * 3600.0
"""How far ahead, in seconds, what a list shows may be dated; the store accepts nothing later."""
MIN_AHEAD_S = 5.0
"""How far ahead, in seconds, a time is said to be ahead; less is the usual clock skew."""


def seconds_ahead(timestamp: float) -> float:
    """Return how far a time is ahead of this machine's clock, in seconds; 0 if it is not.

    ``timestamp`` is in seconds since the epoch.
    """
    ahead = timestamp - time.time()
    return ahead if ahead > MIN_AHEAD_S else 0.0
