"""Shorter pauses for the requests that a process serves: an opt-in for the whole interpreter."""

import gc
import sys

SWITCH_INTERVAL_S = 0.001
"""How long a thread may hold the interpreter before another gets its turn.

With Python's own 5 ms, which apply at each system call of a request, the threads that encode
telemetry made the p99 of requests three times as long. Below 1 ms nothing more is gained.
"""


def reduce_pauses() -> None:
    """Freeze the garbage collector's present objects, and let threads take turns more often.

    Call this once, when everything is imported and before requests are served. Each full
    collection then leaves out all that a process loads and keeps, which took 60 ms. It is a
    setting of the whole process, so the library does not do it on its own.
    """
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
