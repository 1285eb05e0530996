"""The statistics of ``demo traffic``: a progress line while it runs, and a table at the end."""

import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from rich.text import Text

from three_pillar_demo.load.checkout_client import SERVER_ERROR, Purchase
from three_pillar_demo.terminal import printable

CLIENT_ERROR = 400
"""The lowest HTTP status of a client error."""
QUANTILES = (0.50, 0.95, 0.99, 1.0)
"""The quantiles of the latency in the table; the last one is the maximum."""
LIVE_QUANTILES = QUANTILES[:2]
"""The quantiles of the latency in the progress line."""
RECENT_ANSWERS = 1000
"""The number of newest answers from which ``LIVE_QUANTILES`` are computed."""
REASONS_SHOWN = 3
"""The number of reasons for missing answers that are printed, the most frequent first."""


@dataclass
class LoadStats:
    """The statistics of one run.

    Durations are in seconds. Points in time are in seconds of the monotonic clock.
    """

    rate: float
    """The requested number of purchases a second."""
    planned: float
    """The planned duration of the run, without the wait for the last answers."""
    began: float = field(default_factory=time.monotonic)
    """When the first purchase was due."""
    ended: float | None = None
    """When the planned duration was over or the run was interrupted; None before that."""
    sent: int = 0
    """The number of purchases that were started."""
    not_sent: int = 0
    """The number of purchases that were skipped because too many were in flight."""
    in_flight: int = 0
    """The number of purchases that wait for their answer now."""
    latest: float = 0.0
    """The longest delay between the scheduled and the actual start of a purchase."""
    latencies: dict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    """The times from the scheduled start to the answer, by outcome and HTTP status."""
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_ANSWERS))
    """The latencies of the newest ``RECENT_ANSWERS`` answers, of all outcomes."""
    unanswered: Counter[str] = field(default_factory=Counter)
    """The number of purchases that got no answer, by reason."""

    def answered(self, purchase: Purchase, latency: float) -> None:
        """Count one answer that arrived ``latency`` seconds after the scheduled start."""
        self.latencies[purchase.outcome, purchase.status].append(latency)
        self.recent.append(latency)

    @property
    def errors(self) -> int:
        """The number of purchases answered with an HTTP status of 500 or above, or not at all."""
        server_errors = sum(
            len(times) for (_, status), times in self.latencies.items() if status >= SERVER_ERROR
        )
        return server_errors + self.unanswered.total()

    @property
    def all_answered(self) -> bool:
        """Whether no purchase was skipped and every purchase that was sent has an answer."""
        answers = sum(len(times) for times in self.latencies.values())
        return self.not_sent == 0 and answers == self.sent

    @property
    def elapsed(self) -> float:
        """The seconds from ``began`` to ``ended``, or to now while ``ended`` is None."""
        return (self.ended or time.monotonic()) - self.began

    def line(self) -> Text:
        """Return the progress line, with the latency quantiles of the newest answers."""
        parts = [
            f"{self.elapsed:.0f} of {self.planned:g} s",
            f"sent {self.sent} ({self._achieved_rate:.1f}/s)",
            f"in flight {self.in_flight}",
            f"errors {self.errors}",
        ]
        if self.recent:
            recent = sorted(self.recent)
            parts += [
                f"p{quantile * 100:.0f} {percentile(recent, quantile):.2f} s"
                for quantile in LIVE_QUANTILES
            ]
        return Text("  ".join(parts), no_wrap=True, overflow="ellipsis")

    def report(self, console: Console) -> None:
        """Print the table of answers, then the rate, skipped purchases and missing answers."""
        console.print(self._table())
        console.print(
            f"\nSent {self.sent} in {self.elapsed:.1f} s: {self._achieved_rate:.2f}/s of"
            f" {self.rate:g}/s requested; latest start {self.latest * 1000:.0f} ms late."
        )
        if self.not_sent:
            console.print(
                f"Not sent: {self.not_sent}, because too many were in flight.", style="yellow"
            )
        for reason, count in self.unanswered.most_common(REASONS_SHOWN):
            console.print(Text(f"Unanswered: {count}, {printable(reason)}", "red"))
        if self.errors > self.unanswered.total():
            command = ("demo follow --last-error", "bold")
            console.print(Text.assemble("To see why the last one failed: ", command))

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("outcome", overflow="fold")
        for name in ("status", "count", "share", "p50 s", "p95 s", "p99 s", "max s"):
            table.add_column(name, justify="right", no_wrap=True)
        groups = sorted(self.latencies.items(), key=lambda group: (-len(group[1]), group[0]))
        for (outcome, status), times in groups:
            label = Text(printable(outcome, 40), status_colour(status))
            table.add_row(label, str(status), *self._figures(times))
        if self.unanswered:
            count = self.unanswered.total()
            share = count / max(1, self.sent)
            table.add_row(Text("unanswered", "red"), "", str(count), f"{share:.1%}")
        if len(groups) > 1:
            all_times = [latency for _, times in groups for latency in times]
            table.add_row(Text("all answers", "bold"), "", *self._figures(all_times))
        return table

    @property
    def _achieved_rate(self) -> float:
        return self.sent / self.elapsed if self.elapsed else 0.0

    def _figures(self, times: list[float]) -> list[str]:
        """Return the cells of one row: count, share of sent purchases, and quantiles in seconds."""
        cells = [str(len(times)), f"{len(times) / max(1, self.sent):.1%}"]
        if times:
            ordered = sorted(times)
            cells += [f"{percentile(ordered, quantile):.3f}" for quantile in QUANTILES]
        return cells


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the ``share`` quantile of ``ordered``; the share 0.5 gives the median.

    With n values, the result is the value at position ``share * n``, rounded up, counted from 1.
    ``ordered`` must be in ascending order. An empty ``ordered`` gives NaN.
    """
    if not ordered:
        return math.nan
    rank = max(1, math.ceil(share * len(ordered)))
    return ordered[rank - 1]


def status_colour(status: int) -> str:
    """Return the colour in which the terminal shows an HTTP status."""
    if status >= SERVER_ERROR:
        return "red"
    if status >= CLIENT_ERROR:
        return "yellow"
    return "green"
