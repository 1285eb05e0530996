"""Counts what customers saw, and says it: one line while they come, one table at the end."""

import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from rich.text import Text

from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.terminal import printable

FAULT = 500
"""From this HTTP status on, the shop is to blame."""
SHARES = (0.50, 0.95, 0.99, 1.0)
"""The percentiles of the table; the last one is the slowest of all."""


@dataclass
class LoadStats:
    """What has happened so far; times in seconds."""

    rate: float
    """Customers a second that are wanted."""
    planned: float
    """How long they are to come."""
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    """When they began to come, and when no more did, on the monotonic clock."""
    sent: int = 0
    not_sent: int = 0
    """Left out because too many were under way."""
    under_way: int = 0
    latest: float = 0.0
    """The worst start behind schedule."""
    latencies: dict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    """By outcome and HTTP status, from the scheduled start to the answer."""
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=1000))
    unanswered: Counter[str] = field(default_factory=Counter)
    """By reason."""

    def answered(self, purchase: Purchase, latency: float) -> None:
        """Count an answer."""
        self.latencies[purchase.outcome, purchase.status].append(latency)
        self.recent.append(latency)

    @property
    def errors(self) -> int:
        """Purchases that failed by the shop's fault: answered with 500 or more, or not at all."""
        faults = sum(len(times) for (_, status), times in self.latencies.items() if status >= FAULT)
        return faults + self.unanswered.total()

    @property
    def all_answered(self) -> bool:
        """Whether every customer who should have come got an answer."""
        return not self.not_sent and sum(map(len, self.latencies.values())) == self.sent

    @property
    def elapsed(self) -> float:
        """Seconds in which customers came, so far."""
        return (self.ended or time.monotonic()) - self.began

    def line(self) -> Text:
        """Where we are; the percentiles are of the last thousand answers."""
        recent = sorted(self.recent)
        parts = (
            f"{self.elapsed:.0f} of {self.planned:g} s",
            f"sent {self.sent} ({self._achieved:.1f}/s)",
            f"under way {self.under_way}",
            f"errors {self.errors}",
            *(
                f"p{share * 100:.0f} {percentile(recent, share):.2f} s"
                for share in SHARES[:2]
                if recent
            ),
        )
        return Text("  ".join(parts), no_wrap=True, overflow="ellipsis")

    def report(self, console: Console) -> None:
        """Print the table and what is not in it."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("outcome", overflow="fold")
        for name in ("status", "count", "share", "p50 s", "p95 s", "p99 s", "max s"):
            table.add_column(name, justify="right", no_wrap=True)
        groups = sorted(self.latencies.items(), key=lambda group: (-len(group[1]), group[0]))
        for (outcome, status), times in groups:
            table.add_row(
                Text(printable(outcome, 40), _colour(status)), str(status), *self._figures(times)
            )
        if self.unanswered:
            count = self.unanswered.total()
            table.add_row(
                Text("unanswered", "red"), "", str(count), f"{count / max(1, self.sent):.1%}"
            )
        everything = [latency for _, times in groups for latency in times]
        if len(groups) > 1:
            table.add_row(Text("all answers", "bold"), "", *self._figures(everything))
        console.print(table)
        console.print(
            f"\nSent {self.sent} in {self.elapsed:.1f} s: {self._achieved:.2f}/s of {self.rate:g}/s wanted; "
            f"latest start {self.latest * 1000:.0f} ms late."
        )
        if self.not_sent:
            console.print(
                f"Not sent: {self.not_sent}, because too many were under way.", style="yellow"
            )
        for reason, count in self.unanswered.most_common(3):
            console.print(Text(f"Unanswered: {count}, {printable(reason)}", "red"))
        if self.errors > self.unanswered.total():
            console.print(
                Text.assemble(
                    "To see why the last one failed: ", ("demo follow --last-error", "bold")
                )
            )

    @property
    def _achieved(self) -> float:
        return self.sent / self.elapsed if self.elapsed else 0.0

    def _figures(self, times: list[float]) -> list[str]:
        times = sorted(times)
        percentiles = [f"{percentile(times, share):.3f}" for share in SHARES] if times else []
        return [str(len(times)), f"{len(times) / max(1, self.sent):.1%}", *percentiles]


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of ``ordered`` (ascending) that ``share`` of them (0 to 1) do not exceed; NaN of nothing."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def _colour(status: int) -> str:
    return "red" if status >= FAULT else "yellow" if status >= 400 else "green"  # noqa: PLR2004  (an HTTP status)
