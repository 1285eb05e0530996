"""Renders a request or a log record as one line: coloured text, or a JSON object."""

import json
from datetime import UTC, datetime
from itertools import cycle
from typing import Any

from rich.text import Text

from three_pillar_demo.query.arrivals import time_of
from three_pillar_demo.query.interface import NANO, Arrival, LogRecord, Span
from three_pillar_demo.query.severity import shown_level
from three_pillar_demo.terminal import printable, without_ansi
from three_pillar_demo.trace_view.calls import status_of
from three_pillar_demo.trace_view.render import severity_colour

SERVICE_COLOURS = ("cyan", "magenta", "green", "blue", "yellow")
MIN_SERVICE_WIDTH = 10
MAX_SERVICE_WIDTH = 20
"""The width of the column with the service, in characters; it grows up to this width."""
STATE_WIDTH = 5
"""The width of the column with the status of a request or the severity of a log record."""
DURATION_WIDTH = 9
MAX_TEXT = 2_000
"""The number of characters of a text that are shown where lines are not cut."""
TRACE_ID_WIDTH = 32
MIN_TEXT_WIDTH = 24
"""The width, in characters, that is left to the text of a line before its trace id is dropped."""
NARROW_WIDTH = 100
"""The width of a terminal, in characters, below which milliseconds are left out."""


class LineRenderer:
    """Renders lines whose columns are aligned with those of the lines before.

    The colours of the services are given in the order of their first appearance.
    """

    def __init__(self) -> None:
        self.colours: dict[str, str] = {}
        self.next_colour = cycle(SERVICE_COLOURS)
        self.service_width = MIN_SERVICE_WIDTH

    def text(self, arrival: Arrival, reason: str = "", width: int | None = None) -> Text:
        """Return the line of a request or a log record.

        Args:
            arrival: The span of the request, or the log record.
            reason: Why the request failed; "" if it is unknown.
            width: The number of characters to which the line is cut. The trace id of a failed
                request is always shown, any other if there is room for it. None cuts nothing.
        """
        is_narrow = width is not None and width < NARROW_WIDTH
        line = Text.assemble((_clock(arrival, with_milliseconds=not is_narrow), "dim"), " ")
        line.append_text(self._service(arrival.service))
        if isinstance(arrival, Span):
            line.append_text(_request_state(arrival))
            content = Text(printable(arrival.name, MAX_TEXT))
            if reason:
                content.append(f": {printable(reason, MAX_TEXT)}", "red")
        else:
            severity = printable(shown_level(arrival.severity, arrival.severity_number), 12)
            line.append(f"{severity:<{STATE_WIDTH}} ", severity_colour(arrival))
            content = Text(printable(without_ansi(arrival.body), MAX_TEXT))
        trace_id = trace_id_of(arrival)
        needs_id = isinstance(arrival, Span) and arrival.error
        return _joined(line, content, trace_id, width, needs_id=needs_id)

    def _service(self, service: str) -> Text:
        name = printable(service, MAX_SERVICE_WIDTH)
        if service not in self.colours:
            self.colours[service] = next(self.next_colour)
            self.service_width = max(self.service_width, len(name))
        return Text(f"{name:<{self.service_width}} ", f"bold {self.colours[service]}")


def json_line(arrival: Arrival, reason: str = "") -> str:
    """Return a request or a log record as a JSON object in one line, in ASCII."""
    fields: dict[str, Any] = {
        "type": "request" if isinstance(arrival, Span) else "log",
        "time": datetime.fromtimestamp(time_of(arrival) / NANO, UTC).isoformat(),
        "time_unix_nano": time_of(arrival),
        "service": arrival.service,
    }
    if isinstance(arrival, Span):
        fields |= {
            "name": arrival.name,
            "kind": arrival.kind,
            "status": status_of(arrival),
            "failed": arrival.error,
            "reason": reason,
            "duration_ms": (arrival.end - arrival.start) / 1e6,
            "trace_id": arrival.trace_id,
            "span_id": arrival.span_id,
        }
    else:
        fields |= {
            "severity": arrival.severity,
            "failed": arrival.failed,
            "text": arrival.body,
            "trace_id": trace_id_of(arrival),
            "span_id": arrival.fields.get("span_id", ""),
            "attributes": arrival.attributes or arrival.fields,
        }
    return json.dumps(fields)


def trace_id_of(arrival: Arrival) -> str:
    """Return the trace id of a request or a log record; "" if the record has none."""
    if isinstance(arrival, LogRecord):
        return arrival.fields.get("trace_id", "")
    return arrival.trace_id


def _clock(arrival: Arrival, *, with_milliseconds: bool) -> str:
    """Return the local time of day at which a request ended or a log record was written."""
    timestamp = datetime.fromtimestamp(time_of(arrival) / NANO, UTC).astimezone()
    milliseconds = f".{timestamp.microsecond // 1000:03}" if with_milliseconds else ""
    return f"{timestamp:%H:%M:%S}{milliseconds}"


def _request_state(request: Span) -> Text:
    status = status_of(request)
    if not status or (request.error and len(status) > STATE_WIDTH):
        status = "ERROR" if request.error else "ok"
    state = f"{printable(status, STATE_WIDTH):<{STATE_WIDTH}} "
    duration = f"{(request.end - request.start) / 1e6:,.0f} ms".rjust(DURATION_WIDTH)
    colour = "yellow" if status.startswith("4") else "green"
    if request.error:
        colour = "bold red"
    return Text.assemble((state, colour), (f"{duration}  ", "bold"))


def _joined(line: Text, content: Text, trace_id: str, width: int | None, *, needs_id: bool) -> Text:
    """Return the beginning of a line, its content and the trace id as one line of ``width``."""
    if width is None:
        line.append_text(content)
        return line.append(f"  {trace_id}", "dim") if trace_id else line
    room = width - line.cell_len
    room_beside_id = room - TRACE_ID_WIDTH - 2
    needed = min(content.cell_len, MIN_TEXT_WIDTH)
    if trace_id and (needs_id or room_beside_id >= needed):
        content.truncate(max(1, room_beside_id), overflow="ellipsis")
        line.append_text(content)
        line.pad_right(max(0, width - TRACE_ID_WIDTH - line.cell_len))
        line.append(trace_id, "dim")
    else:
        content.truncate(max(1, room), overflow="ellipsis")
        line.append_text(content)
    line.truncate(width)
    return line
