"""The spans that the trace store has returned during a run, to name those that it has lost."""

from collections.abc import Sequence

from three_pillar_demo.query.interface import Span


class SeenSpans:
    """All spans that the trace store has returned, by trace id and span id."""

    def __init__(self) -> None:
        self._spans: dict[str, dict[str, Span]] = {}

    def add(self, spans: Sequence[Span]) -> None:
        """Remember ``spans``, which a query has returned."""
        for span in spans:
            self._spans.setdefault(span.trace_id, {})[span.span_id] = span

    def gone(self, trace_id: str, spans: Sequence[Span]) -> list[Span]:
        """Return the spans of a trace that an earlier query returned and ``spans`` lacks."""
        present = {span.span_id for span in spans}
        seen = self._spans.get(trace_id, {})
        return [span for span_id, span in seen.items() if span_id not in present]
