"""Log forging: whatever somebody writes into a text, one event is one line and one record, and none rules a terminal."""

import json
import re
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest

from tests.processes import InMemoryCollector, wait_for
from tests.security.leaky_process import leaky

FORGED = '{"event": "forged", "level": "critical", "forged": true, "trace_id": "' + "f" * 32 + '"}'
TEXTS = {
    "a line": f"x\n{FORGED}\n",
    "a line of Windows": f"x\r\n{FORGED}\r\n",
    "a carriage return": f"x\r{FORGED}",
    "other separators": f"x\x0b{FORGED}\x0c{FORGED}\x1c{FORGED}\x85{FORGED}\u2028{FORGED}\u2029{FORGED}",
    "JSON that ends the text": f'x", "forged": true, "y": "{FORGED}',
    "JSON that ends the object": f'"}}\n{FORGED}\n{{"x": "',
    "escapes": f"x\\n{FORGED}\\u000a{FORGED}\\\\",
    "ANSI": f"\x1b[2J\x1b[1;31m{FORGED}\x1b]0;title\x07\x9b31m",
    "bidi": f"\u202e{FORGED}\u202c \u2066{FORGED}\u2069 \u200f",
    "backspaces and a NUL": f"x\x08\x08\x7f\x00{FORGED}",
    "half a character": "x\ud800\n" + FORGED,
}
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.mark.timeout(120)
def test_one_event_is_one_line(collector: InMemoryCollector, tmp_path: Path) -> None:
    """Each line on stdout is one JSON object of ours, without raw control or bidi characters, and each has its one record."""
    with leaky(tmp_path, collector.url) as (base, output):
        asked = 0
        for text in TEXTS.values():
            raw = text.encode("utf-8", "surrogatepass").replace(b"\xed\xa0\x80", b"?")
            code = quote(raw)
            headers = {
                "user-agent": re.sub("[^ -~]", " ", text).strip(),
                "baggage": f"note={code}",
                "connection": "close",
            }
            for method in ("GET", "POST"):
                asked += 1
                httpx2.request(
                    method,
                    f"{base}/said/{code}?q={code}",
                    content=raw,
                    headers=headers,
                    timeout=30,
                    trust_env=False,
                )

        def canonical() -> int:
            return output.read_bytes().count(b'"http.response.status_code"')

        wait_for(f"{asked} canonical lines", lambda: canonical() == asked, 60)
    lines = output.read_text().split("\n")
    assert lines.pop() == ""
    parsed = [json.loads(line) for line in lines]
    assert all(
        isinstance(each, dict) and {"event", "level", "timestamp"} <= each.keys() for each in parsed
    )
    assert [
        each
        for each in parsed
        if "forged" in each or each["level"] == "critical" or each["event"] == "forged"
    ] == []
    assert CONTROL.findall(output.read_text()) == []
    ours = [each for each in parsed if "logger" not in each]
    assert len(ours) == len(collector.lines)
    assert "f" * 32 not in {trace_id for _, trace_id in collector.lines}
