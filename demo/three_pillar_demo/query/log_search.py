"""What a search for log records can ask for."""

import re
from dataclasses import dataclass

MAX_SKIPPED = 4_000
"""The largest ``LogFilter.skipped``; Loki returns 5,000 records at most, by default."""
WHOLE_TRACE_ID = re.compile(r"[0-9a-fA-F]{32}")


@dataclass(frozen=True)
class LogFilter:
    """Which log records a search finds. A field with its default value sets no condition.

    Attributes:
        service: The name of the service.
        level: A key of ``severity.LEVEL_NUMBERS``, such as ERROR.
        text: A part of any field of the record, in any case: its body, the names and values of its
            attributes and of those of its resource, its scope, severity text, event name, and ids.
            Of an id, at least eight digits are needed. A whole trace id finds the records of that
            trace.
        attributes: Pairs of a name and a value, as text. The record or its resource must have all
            of them as attributes. The names ``trace_id``, ``span_id``, ``severity_text``,
            ``severity_number`` and ``event_name`` stand for the fields of the record.
        until: The time, in nanoseconds since the epoch, after which no record is found; 0 for any
            time.
        skipped: The number of records with exactly the time ``until`` that are left out, because an
            earlier search has found them; at most ``MAX_SKIPPED``.
    """

    service: str = ""
    level: str = ""
    text: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    until: int = 0
    skipped: int = 0

    @property
    def trace_id(self) -> str:
        """The trace id, in lower case, if the text is one; else an empty text."""
        return self.text.lower() if WHOLE_TRACE_ID.fullmatch(self.text) else ""
