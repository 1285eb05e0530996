"""Counts what the store rejects, and logs it at a bounded rate.

A sender gets the reasons in ``partial_success``, but many SDKs do not print them. So the store's
own log and ``/healthz`` say them too.
"""

import logging
import time
from collections import Counter

from three_pillar_demo.local_store.otlp.batch import MAX_SHOWN_REASONS, OTHER_REASONS, Batch

log = logging.getLogger("local_store")

INTERVAL_S = 10.0
"""Seconds between two lines of the log; what is rejected meanwhile is in the next line."""
MAX_PENDING_REASONS = 1_000


class RejectionLog:
    """The numbers of rejected records and refused requests, and the reasons not logged yet."""

    def __init__(self) -> None:
        """Begin without rejected records."""
        self.total = 0
        """The number of records rejected since the start of the process, without ``refused``."""
        self.refused = 0
        """The number of requests refused as a whole: what was in them is not known."""
        self._pending: Counter[str] = Counter()
        self._last_logged = -INTERVAL_S

    def record(self, signal_name: str, batch: Batch) -> None:
        """Count the rejected records of ``batch``; log them now if the last line is old enough.

        ``signal_name`` is ``traces``, ``logs`` or ``metrics``.
        """
        self.total += batch.rejected.total()
        for reason, count in (batch.rejected + batch.warnings).items():
            self._add(f"{reason} ({signal_name})", count)
        self._flush_if_due()

    def record_refusal(self, sender: str, reason: str) -> None:
        """Count a request that is refused as a whole, and that a retry cannot mend.

        ``sender`` is the name of the signal, or says what else sent the request.
        """
        self.refused += 1
        self._add(f"request refused: {reason} ({sender})", 1)
        self._flush_if_due()

    def _add(self, entry: str, count: int) -> None:
        if entry not in self._pending and len(self._pending) >= MAX_PENDING_REASONS:
            entry = OTHER_REASONS
        self._pending[entry] += count

    def _flush_if_due(self) -> None:
        if time.monotonic() - self._last_logged >= INTERVAL_S:
            self.flush()

    def flush(self) -> None:
        """Log what is not logged yet, if there is anything."""
        if not self._pending:
            return
        reasons = [
            f"{count} x {reason}" for reason, count in self._pending.most_common(MAX_SHOWN_REASONS)
        ]
        log.warning("rejected telemetry: %s", "; ".join(reasons))
        self._pending.clear()
        self._last_logged = time.monotonic()
