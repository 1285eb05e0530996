"""The data of one trace: its spans, its log records and the exemplars that point to it.

All texts in this data come from outside, so each must pass through ``terminal.printable`` before it
is shown.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

from three_pillar_demo.query.interface import Exemplar, LogRecord, Span


@dataclass(frozen=True)
class TraceView:
    """What the backends returned about one trace.

    ``remarks`` are sentences for the user about what is missing and why.
    """

    trace_id: str
    spans: list[Span]
    logs: list[LogRecord]
    exemplars: list[Exemplar]
    remarks: tuple[str, ...] = ()

    @property
    def start(self) -> int:
        """The first start of a span, in nanoseconds since the epoch.

        It is the time of the first log record if there are no spans, and 0 if there are neither.
        """
        times = [span.start for span in self.spans] or [record.time for record in self.logs]
        return min(times, default=0)

    @property
    def end(self) -> int:
        """The last end of a span, or the last log record if there are no spans; see ``start``."""
        times = [span.end for span in self.spans] or [record.time for record in self.logs]
        return max(times, default=0)

    # Both indexes are computed once. A trace may have ten thousand spans, so a search through
    # all of them for each span would take minutes.

    @cached_property
    def children_by_parent(self) -> dict[str, list[Span]]:
        """The spans, grouped by the span id of their parent."""
        children = defaultdict[str, list[Span]](list)
        for span in self.spans:
            children[span.parent_id].append(span)
        return dict(children)

    @cached_property
    def logs_by_span(self) -> dict[str, list[LogRecord]]:
        """The log records, grouped by the id of the span in which they were written."""
        logs = defaultdict[str, list[LogRecord]](list)
        for record in self.logs:
            logs[record.fields.get("span_id", "")].append(record)
        return dict(logs)


def is_canonical(record: LogRecord) -> bool:
    """Return True if ``record`` is a canonical log record.

    A service writes one canonical log record at the end of each request, with the HTTP status and
    the outcome.
    """
    return "http_response_status_code" in record.fields
