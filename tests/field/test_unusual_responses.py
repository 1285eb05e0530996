"""Odd exceptions and odd answers."""

import asyncio
from dataclasses import dataclass
from datetime import date

import pytest
from fastapi import FastAPI
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from tests.field.foreign_app import Foreign


class Day(Convertor[date]):
    """A day, as Starlette's docs make one."""

    regex = r"\d{4}-\d{2}-\d{2}"

    def convert(self, value: str) -> date:
        """Fail for a thirteenth month."""
        return date.fromisoformat(value)

    def to_string(self, value: date) -> str:
        """Write it."""
        return value.isoformat()


@pytest.mark.parametrize("prefix", ["", "/sub"])
def test_a_crash_of_a_convertor_is_a_crash(prefix: str) -> None:
    """What fits a path and cannot be converted is a 500 with a span, a line and a count, and its route has its name."""
    register_url_convertor("day", Day())
    app, sub = FastAPI(), FastAPI()
    for each in (app, sub):
        each.add_api_route("/on/{day:day}", lambda day: day)
    app.mount("/sub", sub)
    foreign = Foreign(app)
    assert foreign.ask(f"{prefix}/on/2026-13-01").status_code == 500
    assert foreign.told() == (1, 1, 1, 1)
    assert foreign.routes() == {pillar: {f"{prefix}/on/{{day:day}}"} for pillar in foreign.routes()}
    (line,) = foreign.canonical()
    assert (line["outcome"], line["error.type"]) == ("crashed", "ValueError")


@dataclass(frozen=True)
class FrozenError(Exception):
    """An exception that takes no notes."""

    code: int = 1


def test_a_crash_may_be_frozen() -> None:
    """An exception that takes no attributes is told as the crash it is."""
    app = FastAPI()

    @app.get("/crash")
    async def crash() -> None:
        raise FrozenError

    foreign = Foreign(app)
    assert foreign.ask("/crash").status_code == 500
    (line,) = foreign.canonical()
    assert (line["http.response.status_code"], line["outcome"], line["error.type"]) == (
        500,
        "crashed",
        "FrozenError",
    )


@pytest.mark.parametrize(
    "extra", ["http.response.debug", "http.response.early_hint", "http.response.push"]
)
def test_only_the_body_ends_an_answer(extra: str) -> None:
    """A message of an ASGI extension before the answer is not taken for its end."""
    app = FastAPI()

    class Hinting(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": extra, "links": [], "path": "/", "headers": [], "info": {}})
            await super().__call__(scope, receive, send)

    app.add_api_route("/hint", lambda: Hinting("x"), response_model=None)

    async def ask() -> None:
        done = []

        async def send(message: Message) -> None:
            done.append(message)

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": "/hint",
            "query_string": b"",
            "headers": [],
        }
        await app(
            {**scope, "extensions": {extra: {}}, "scheme": "http", "server": ("foreign", 80)},
            receive,
            send,
        )

    foreign = Foreign(app)
    asyncio.run(ask())
    assert [line["http.response.status_code"] for line in foreign.canonical()] == [200]
