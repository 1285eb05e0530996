"""Applications mounted in applications, and websockets: each request is recorded exactly once."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry.trace import StatusCode
from starlette.applications import Starlette
from starlette.types import Message

from tests.field.foreign_app import ForeignApp, item_app


def mounted(
    *, sub_installs: str = "", mounted_twice: bool = False
) -> tuple[ForeignApp, ForeignApp | None]:
    """Mount the application of ``item_app`` at ``/sub`` in an application with the library.

    Args:
        sub_installs: ``before`` or ``after`` if the mounted application installs the library too,
            before or after the outer one does; empty if it does not.
        mounted_twice: Whether it is mounted at ``/other`` as well.

    Returns:
        The outer application, and the mounted one if it installs the library, otherwise None.
    """
    sub_app = item_app()
    outer_app = FastAPI()
    inner = None
    if sub_installs == "before":
        inner = ForeignApp(sub_app, "inner")
    outer_app.mount("/sub", sub_app)
    if mounted_twice:
        outer_app.mount("/other", sub_app)
    outer = ForeignApp(outer_app)
    if sub_installs == "after":
        inner = ForeignApp(sub_app, "inner")
    return outer, inner


ARRANGEMENTS: dict[str, Callable[[], tuple[ForeignApp, ForeignApp | None]]] = {
    "sub-app without telemetry": mounted,
    "sub-app mounted twice": lambda: mounted(mounted_twice=True),
    "sub-app that installs first": lambda: mounted(sub_installs="before"),
    "sub-app that installs last": lambda: mounted(sub_installs="after"),
}


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_a_request_to_a_sub_app_is_recorded_once(name: str) -> None:
    """A request to a sub-app has one span, count and line, recorded by the outer application."""
    outer, inner = ARRANGEMENTS[name]()
    response = outer.request("/sub/item/7")
    (span,) = outer.server_spans()
    assert span.context
    trace_id = f"{span.context.trace_id:032x}"
    assert response.json()["trace_id"] == trace_id == outer.canonical_lines()[0]["trace_id"]
    assert outer.signal_counts() == (1, 1, 1, 1)
    assert inner is None or inner.signal_counts() == (0, 0, 0, 0)


@pytest.mark.parametrize("name", [name for name in ARRANGEMENTS if "last" not in name])
def test_the_log_of_a_sub_app_is_beside_the_canonical_line(name: str) -> None:
    """The events of a sub-app are lines of the outer application if that one installs last."""
    outer, _ = ARRANGEMENTS[name]()
    outer.request("/sub/item/7")
    events = [line["event"] for line in outer.lines()]
    assert events == ["inside", "GET /sub/item/{number} 200 success"]


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_a_crash_in_a_sub_app_is_recorded_as_a_crash(name: str) -> None:
    """An exception in a sub-app is one line with its traceback, and its span has error status."""
    outer, inner = ARRANGEMENTS[name]()
    assert outer.request("/sub/crash").status_code == 500
    assert outer.signal_counts() == (1, 1, 1, 1)
    (line,) = outer.lines()
    assert (line["outcome"], line["error.type"]) == ("crashed", "ValueError")
    assert "ValueError: boom" in line["exception"]
    assert outer.server_spans()[0].status.status_code is StatusCode.ERROR
    assert inner is None or not inner.stdout.getvalue()


@pytest.mark.parametrize("outer_class", [FastAPI, Starlette], ids=lambda app: app.__name__)
@pytest.mark.parametrize(
    ("path", "status"), [("/sub/item/7", 200), ("/sub/crash", 500), ("/sub/nowhere", 404)]
)
def test_a_sub_app_with_telemetry_records_its_requests(
    outer_class: Callable[[], Any], path: str, status: int
) -> None:
    """A sub-app with the library in an outer app without it records requests, but no scrapes."""
    foreign = ForeignApp(item_app())
    outer_app = outer_class()
    outer_app.mount("/sub", foreign.app)
    assert foreign.request("/sub/metrics", outer_app=outer_app).status_code == 200
    assert foreign.signal_counts() == (0, 0, 0, 0)
    assert foreign.request(path, outer_app=outer_app).status_code == status
    assert foreign.signal_counts() == (1, 1, 1, 1)


@pytest.mark.parametrize("path", ["/talk/7", "/sub/talk/7"])
def test_a_websocket_passes_all_layers(path: str) -> None:
    """A websocket whose headers and query are not UTF-8 opens, sends, closes and has a span."""
    app = item_app()
    app.mount("/sub", item_app())
    foreign = ForeignApp(app)
    sent: list[Message] = []
    to_receive: list[Message] = [
        {"type": "websocket.connect"},
        {"type": "websocket.disconnect", "code": 1000},
    ]

    async def receive() -> Message:
        return to_receive.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "query_string": b"a=\xff",
        "headers": [(b"host", b"foreign"), (b"user-agent", b"\xff\\x"), (b"x-\xff", b"\xfe")],
        "subprotocols": [],
        "extensions": {},
        "server": ("foreign", 80),
    }
    asyncio.run(foreign.app(scope, receive, send))
    types = [message["type"] for message in sent]
    assert types == ["websocket.accept", "websocket.send", "websocket.close"]
    assert sent[1]["text"] == "7"
    (span,) = foreign.server_spans()
    assert dict(span.attributes or {})["http.route"] == path.replace("7", "{number}")
