"""Telemetry in the child processes of ``os.fork()``: each begins at zero and sends for itself.

``gunicorn --preload`` calls ``install()`` before it forks its workers, and an application may fork
with ``multiprocessing``. In such a child the SDK starts new export threads, clears its queues and
gives the resource a new instance id. It keeps the metrics of the parent, which would then be
counted twice, its locks, and the connections of its exporters, which two processes cannot share.
The objects that hold such state reset it with ``call_in_children``.
"""

import os
from collections.abc import Callable
from weakref import WeakMethod


def call_in_children(method: Callable[[], None]) -> None:
    """Call the bound ``method`` in each child process of ``os.fork()``, while its object exists."""
    if not hasattr(os, "register_at_fork"):
        return
    weak_method = WeakMethod(method)

    def call() -> None:
        bound_method = weak_method()
        if bound_method:
            bound_method()

    os.register_at_fork(after_in_child=call)
