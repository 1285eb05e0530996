"""Requests with unusual exceptions or ASGI messages are recorded like any other request."""

import asyncio
from dataclasses import dataclass
from datetime import date

import pytest
from fastapi import FastAPI
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from tests.field.foreign_app import ForeignApp


class DayConvertor(Convertor[date]):
    """A convertor for a date like 2026-01-31, as in Starlette's documentation."""

    regex = r"\d{4}-\d{2}-\d{2}"

    def convert(self, value: str) -> date:
        """Return the date; raise ValueError if there is no such day."""
        return date.fromisoformat(value)

    def to_string(self, value: date) -> str:
        """Return the date as text like 2026-01-31."""
        return value.isoformat()


@pytest.mark.parametrize("prefix", ["", "/sub"])
def test_a_crash_of_a_convertor_is_recorded_under_its_route(prefix: str) -> None:
    """An exception in a path convertor is recorded as 500 under the template of its route."""
    register_url_convertor("day", DayConvertor())
    app = FastAPI()
    sub_app = FastAPI()
    app.add_api_route("/on/{day:day}", lambda day: day)
    sub_app.add_api_route("/on/{day:day}", lambda day: day)
    app.mount("/sub", sub_app)
    foreign = ForeignApp(app)
    assert foreign.request(f"{prefix}/on/2026-13-01").status_code == 500
    assert foreign.signal_counts() == (1, 1, 1, 1)
    names = foreign.route_names()
    assert names == {signal: {f"{prefix}/on/{{day:day}}"} for signal in names}
    (line,) = foreign.canonical_lines()
    assert (line["outcome"], line["error.type"]) == ("crashed", "ValueError")


@dataclass(frozen=True)
class FrozenError(Exception):
    """An exception to which no attributes can be added, because it is a frozen dataclass."""

    code: int = 1


def test_a_frozen_exception_is_recorded_as_a_crash() -> None:
    """An exception to which no attributes can be added is recorded like any other one."""
    app = FastAPI()

    @app.get("/crash")
    async def crash() -> None:
        raise FrozenError

    foreign = ForeignApp(app)
    assert foreign.request("/crash").status_code == 500
    (line,) = foreign.canonical_lines()
    assert line["http.response.status_code"] == 500
    assert (line["outcome"], line["error.type"]) == ("crashed", "FrozenError")


@pytest.mark.parametrize(
    "extension", ["http.response.debug", "http.response.early_hint", "http.response.push"]
)
def test_a_message_of_an_extension_does_not_end_a_response(extension: str) -> None:
    """An ASGI extension message before the response does not end the recording of the request."""

    class HintingResponse(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": extension, "links": [], "path": "/", "headers": [], "info": {}})
            await super().__call__(scope, receive, send)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Message) -> None:
        return

    app = FastAPI()
    app.add_api_route("/hint", lambda: HintingResponse("x"), response_model=None)
    foreign = ForeignApp(app)
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/hint",
        "query_string": b"",
        "headers": [],
        "extensions": {extension: {}},
        "scheme": "http",
        "server": ("foreign", 80),
    }
    asyncio.run(app(scope, receive, send))
    assert [line["http.response.status_code"] for line in foreign.canonical_lines()] == [200]
