"""Notices the first request that arrives while the start page waits for one."""

import time
from dataclasses import dataclass

from three_pillar_demo.web.request_list import RequestList, RequestRow

SHOWN_FOR_S = 300.0
"""How long the first request is shown after it has arrived, in seconds."""


@dataclass
class FirstRequest:
    """What the start page has seen of the list of all requests, without a filter.

    The state belongs to the process, so that a reload of the page shows the same.

    Attributes:
        is_waiting: Whether the newest answer of the query had no request.
        row: The earliest request of the first list that was not empty; None before.
        arrived_at: When this list was seen, on the monotonic clock.
    """

    is_waiting: bool = False
    row: RequestRow | None = None
    arrived_at: float = 0.0

    def notice(self, requests: RequestList) -> RequestRow | None:
        """Return the first request if it has arrived in the past ``SHOWN_FOR_S``, or None.

        A request counts as the first one only if an earlier list was empty. A query without an
        answer changes nothing.
        """
        rows = requests.value
        if rows and self.is_waiting:
            self.row = rows[-1]
            self.arrived_at = time.monotonic()
        if rows is not None:
            self.is_waiting = not rows
        is_recent = time.monotonic() - self.arrived_at < SHOWN_FOR_S
        return self.row if is_recent and not self.is_waiting else None
