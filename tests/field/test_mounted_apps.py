"""Apps in apps."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry.trace import StatusCode
from starlette.applications import Starlette
from starlette.types import Message

from tests.field.foreign_app import Foreign, leafy


def mounted(*, sub_has: str = "", twice: bool = False) -> tuple[Foreign, Foreign | None]:
    """A leafy app in another: who tells of it, and the pillars that must stay silent."""
    sub, parent = leafy(), FastAPI()
    silent = Foreign(sub, "silent") if sub_has == "before" else None
    parent.mount("/sub", sub)
    if twice:
        parent.mount("/other", sub)
    teller = Foreign(parent)
    silent = Foreign(sub, "silent") if sub_has == "after" else silent
    return teller, silent


ARRANGEMENTS: dict[str, Callable[[], tuple[Foreign, Foreign | None]]] = {
    "a bare sub-app": mounted,
    "the same twice": lambda: mounted(twice=True),
    "a sub-app with telemetry of its own": lambda: mounted(sub_has="before"),
    "a sub-app that gets it later": lambda: mounted(sub_has="after"),
}


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_an_app_in_an_app_is_told_of_once(name: str) -> None:
    """One request is one SERVER span, one trace, one count and one line, told by the outermost app that tells."""
    foreign, silent = ARRANGEMENTS[name]()
    answer = foreign.ask("/sub/item/7")
    (span,) = foreign.spans()
    assert span.context
    assert (
        answer.json()["trace_id"]
        == f"{span.context.trace_id:032x}"
        == foreign.canonical()[0]["trace_id"]
    )
    assert foreign.told() == (1, 1, 1, 1)
    assert silent is None or silent.told() == (0, 0, 0, 0)


@pytest.mark.parametrize("name", [name for name in ARRANGEMENTS if "later" not in name])
def test_what_a_sub_app_logs_goes_where_its_request_is_told(name: str) -> None:
    """A line that a handler of the sub-app writes goes out with the request's own, when the outermost app installed last."""
    foreign, _ = ARRANGEMENTS[name]()
    foreign.ask("/sub/item/7")
    assert [line["event"] for line in foreign.lines()] == [
        "inside",
        "GET /sub/item/{number} 200 success",
    ]


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_a_crash_in_a_sub_app_is_a_crash(name: str) -> None:
    """A crash in a sub-app is one line that says crashed, with the traceback, and its span is an error."""
    foreign, silent = ARRANGEMENTS[name]()
    assert foreign.ask("/sub/crash").status_code == 500
    assert foreign.told() == (1, 1, 1, 1)
    (line,) = foreign.lines()
    assert (line["outcome"], line["error.type"]) == ("crashed", "ValueError")
    assert "ValueError: boom" in line["exception"]
    assert foreign.spans()[0].status.status_code is StatusCode.ERROR
    assert silent is None or not silent.stdout.getvalue()


@pytest.mark.parametrize("parent", [FastAPI, Starlette], ids=lambda each: each.__name__)
@pytest.mark.parametrize(
    ("path", "status"), [("/sub/item/7", 200), ("/sub/crash", 500), ("/sub/nowhere", 404)]
)
def test_a_bare_parent_tells_nothing_twice(
    parent: Callable[[], Any], path: str, status: int
) -> None:
    """An app with telemetry in a parent without is told of once, by itself; its probes stay quiet there."""
    foreign, outside = Foreign(leafy()), parent()
    outside.mount("/sub", foreign.app)
    assert foreign.ask("/sub/metrics", app=outside).status_code == 200
    assert foreign.told() == (0, 0, 0, 0)
    assert foreign.ask(path, app=outside).status_code == status
    assert foreign.told() == (1, 1, 1, 1)


@pytest.mark.parametrize("path", ["/talk/7", "/sub/talk/7"])
def test_websockets_work_as_ever(path: str) -> None:
    """A websocket opens, talks and closes through all layers, also with bytes in its headers and query that are no UTF-8."""
    app = leafy()
    app.mount("/sub", leafy())
    foreign, sent = Foreign(app), list[Message]()
    came: list[Message] = [
        {"type": "websocket.connect"},
        {"type": "websocket.disconnect", "code": 1000},
    ]

    async def receive() -> Message:
        return came.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", b"foreign"), (b"user-agent", b"\xff\\x"), (b"x-\xff", b"\xfe")]
    scope = {
        "type": "websocket",
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "query_string": b"a=\xff",
        "headers": headers,
    }
    asyncio.run(
        foreign.app(
            {**scope, "subprotocols": [], "extensions": {}, "server": ("foreign", 80)},
            receive,
            send,
        )
    )
    assert [each["type"] for each in sent] == [
        "websocket.accept",
        "websocket.send",
        "websocket.close",
    ]
    assert sent[1]["text"] == "7"
    (span,) = foreign.spans()
    assert dict(span.attributes or {})["http.route"] == path.replace("7", "{number}")
