"""Log forging: whatever text is logged, one event stays one line that cannot control a terminal."""

import json
import re
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest

from tests.processes import InMemoryCollector, wait_for
from tests.security.leaky_process import run_leaky_service

FORGED_TRACE_ID = "f" * 32
FORGED = (
    '{"event": "forged", "level": "critical", "forged": true, "trace_id": "'
    + FORGED_TRACE_ID
    + '"}'
)
UNUSUAL_SEPARATORS = "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"
TEXTS = {
    "line feed": f"x\n{FORGED}\n",
    "Windows line break": f"x\r\n{FORGED}\r\n",
    "carriage return": f"x\r{FORGED}",
    "other separators": "x" + "".join(f"{separator}{FORGED}" for separator in UNUSUAL_SEPARATORS),
    "JSON that ends the string": f'x", "forged": true, "y": "{FORGED}',
    "JSON that ends the object": f'"}}\n{FORGED}\n{{"x": "',
    "escape sequences": f"x\\n{FORGED}\\u000a{FORGED}\\\\",
    "ANSI codes": f"\x1b[2J\x1b[1;31m{FORGED}\x1b]0;title\x07\x9b31m",
    "bidi characters": f"\u202e{FORGED}\u202c \u2066{FORGED}\u2069 \u200f",
    "backspaces and a NUL": f"x\x08\x08\x7f\x00{FORGED}",
    "unpaired surrogate": "x\ud800\n" + FORGED,
}
CONTROL_CHARACTER = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
REQUEST_TIMEOUT_S = 30


def send(base_url: str, method: str, text: str) -> None:
    """Send one request with ``text`` in path, query, body, user agent and baggage."""
    body = text.encode("utf-8", "surrogatepass").replace(b"\xed\xa0\x80", b"?")
    encoded = quote(body)
    headers = {
        "user-agent": re.sub("[^ -~]", " ", text).strip(),
        "baggage": f"note={encoded}",
        "connection": "close",
    }
    httpx2.request(
        method,
        f"{base_url}/echo/{encoded}?q={encoded}",
        content=body,
        headers=headers,
        timeout=REQUEST_TIMEOUT_S,
        trust_env=False,
    )


@pytest.mark.timeout(120)
def test_one_event_is_one_line(collector: InMemoryCollector, tmp_path: Path) -> None:
    """Each line on stdout is one JSON object, without control or bidirectional characters."""
    with run_leaky_service(tmp_path, collector.url) as (base_url, output):
        for text in TEXTS.values():
            for method in ("GET", "POST"):
                send(base_url, method, text)
        request_count = 2 * len(TEXTS)

        def all_requests_logged() -> bool:
            return output.read_bytes().count(b'"http.response.status_code"') == request_count

        wait_for(f"{request_count} request log lines", all_requests_logged, 60)
    lines = output.read_text().split("\n")
    assert lines.pop() == ""
    events = [json.loads(line) for line in lines]
    for event in events:
        assert isinstance(event, dict)
        assert {"event", "level", "timestamp"} <= event.keys()
        assert "forged" not in event
        assert event["level"] != "critical"
        assert event["event"] != "forged"
    assert CONTROL_CHARACTER.findall(output.read_text()) == []
    own_events = [event for event in events if "logger" not in event]
    assert len(own_events) == len(collector.lines)
    assert FORGED_TRACE_ID not in {trace_id for _, trace_id in collector.lines}
