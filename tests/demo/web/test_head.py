"""Tests what is sent in answer to HEAD; an HTTP client would hide a body from a test."""

import asyncio

from starlette.responses import Response
from starlette.types import Message, Scope

from three_pillar_demo.web.head import HeadMiddleware


def sent_messages(method: str) -> list[Message]:
    """Return the ASGI messages of the response to a request with this method."""
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    scope: Scope = {"type": "http", "method": method, "path": "/", "headers": []}
    application = HeadMiddleware(Response("a page", headers={"x-kept": "1"}))
    asyncio.run(application(scope, receive, send))
    return messages


def test_head_sends_no_body() -> None:
    """HEAD has the status and the headers of GET, the length of its body included, and no body."""
    get_start, get_body = sent_messages("GET")
    head_start, head_body = sent_messages("HEAD")
    assert head_start == get_start
    assert (get_body["body"], head_body["body"]) == (b"a page", b"")
