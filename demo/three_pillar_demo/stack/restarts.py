"""Decides when a component that has exited unexpectedly is started again, and when no longer."""

from collections import defaultdict, deque

FIRST_DELAY_S = 0.5
"""Seconds from the first exit to the restart; each further exit doubles them."""
MAX_DELAY_S = 8.0
WINDOW_S = 60.0
"""Seconds after which an exit no longer counts."""
MAX_EXITS = 5
"""The number of exits within ``WINDOW_S`` after which a component is not restarted again."""


def report(name: str, reason: str, delay_s: float | None) -> str:
    """Return the message on an unexpected exit of the component ``name``.

    ``reason`` says how it ended. ``delay_s`` is the number of seconds until its restart, or None if
    it stays down.
    """
    if delay_s is None:
        return (
            f"{name} {reason}. It has exited {MAX_EXITS} times within {WINDOW_S:g} s and stays "
            f"down; `demo start {name}` starts it again."
        )
    return f"{name} {reason}. It is started again in {delay_s:g} s."


class Restarts:
    """The recent exits of each component, and the restarts that are due.

    Times are seconds of the monotonic clock.
    """

    def __init__(self) -> None:
        """Begin without any exits."""
        self._exits: defaultdict[str, deque[float]] = defaultdict(deque)
        self._due_at: dict[str, float] = {}

    def exited(self, name: str, now: float) -> float | None:
        """Record that the component ``name`` exited at the time ``now``, and plan its restart.

        Return the seconds until the restart. They are None if the component has exited
        ``MAX_EXITS`` times within ``WINDOW_S``: then no restart is planned.
        """
        exits = self._exits[name]
        exits.append(now)
        while now - exits[0] > WINDOW_S:
            exits.popleft()
        if len(exits) >= MAX_EXITS:
            return None
        delay = min(FIRST_DELAY_S * 2 ** (len(exits) - 1), MAX_DELAY_S)
        self._due_at[name] = now + delay
        return float(delay)

    def pop_due(self, now: float) -> list[str]:
        """Return the components whose restart is due at the time ``now``, and forget the plans."""
        due = [name for name, due_at in self._due_at.items() if due_at <= now]
        for name in due:
            del self._due_at[name]
        return due

    def cancel(self, name: str) -> None:
        """Forget the exits of the component ``name``, and its planned restart."""
        self._exits.pop(name, None)
        self._due_at.pop(name, None)
