"""Rates while the data begin: what is counted is divided by the time in which there are data.

Divided by a whole window, steady traffic would seem to grow for the length of this window.
"""

MIN_PART = 1 / 6
"""The part of a window by which a rate is divided at least.

The rate of one request in the first second would not be that of the next seconds.
"""


def covered_seconds(time: float, window_s: float, begin: float | None) -> float:
    """Return for how many of the ``window_s`` seconds before ``time`` there are data.

    The result is at least ``MIN_PART`` of the window. ``begin`` is the time at which the data
    begin, in seconds since the epoch, or None if that is before all windows.
    """
    if begin is None:
        return window_s
    return min(window_s, max(time - begin, window_s * MIN_PART))
