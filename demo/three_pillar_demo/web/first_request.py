"""Notices the first request that arrives while the start page waits for one."""

import time
from dataclasses import dataclass

from three_pillar_demo.web.request_list import MAX_REQUESTS, RequestList, RequestRow

SHOWN_FOR_S = 300.0
"""How long the first request is shown after it has arrived, in seconds."""


@dataclass
class FirstRequest:
    """What the start page has seen of the list of all requests, without a filter.

    The state belongs to the process, so that a reload of the page shows the same.

    Attributes:
        is_waiting: Whether the newest answer of the query had no request.
        row: The request that is shown; None before any has arrived.
        is_first: Whether ``row`` is the first of all requests, as far as they have arrived. It is
            not known if the page was not open while more requests than a list has arrived.
        arrived_at: When this list was seen, on the monotonic clock.
    """

    is_waiting: bool = False
    row: RequestRow | None = None
    is_first: bool = False
    arrived_at: float = float("-inf")

    def notice(self, requests: RequestList) -> RequestRow | None:
        """Return the first request if it has arrived in the past ``SHOWN_FOR_S``, or None.

        A request counts as the first one only if an earlier list was empty. It is the one that
        began first: its span may arrive after those of the services that it called. A query
        without an answer changes nothing.
        """
        rows = requests.value
        if rows and (self.is_waiting or self._is_shown()):
            if self.is_waiting:
                self.arrived_at = time.monotonic()
            is_whole_list = len(rows) < MAX_REQUESTS
            if is_whole_list or self.is_waiting:
                self.row = min(reversed(rows), key=lambda row: row.span.start)
                self.is_first = is_whole_list
        if rows is not None:
            self.is_waiting = not rows
        return self.row if self._is_shown() and not self.is_waiting else None

    def _is_shown(self) -> bool:
        return time.monotonic() - self.arrived_at < SHOWN_FOR_S
