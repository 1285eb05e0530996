"""A receiver that stands in front of the real one, hands everything on, and for a while misbehaves as it is told."""

import hashlib
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import httpx2

from three_pillar_demo.stack.components import LOOPBACK

RETRY_AFTER = 3
"""Seconds that its 429 asks for."""
SLOW_SECONDS = 3.0
"""What an answer of the slow one takes."""
ANSWERS = {"429": 429, "503": 503, "400": 400}
FORWARD_SECONDS = 20.0
EARLY_SECONDS = 0.2
"""How much sooner than asked a batch may come again: two clocks, and the way here."""


@dataclass(frozen=True)
class Answer:
    """One answer: when, to which batch, and its status; 0 for none."""

    time: float
    batch: bytes
    status: int


class FaultyReceiver:
    """A real HTTP server on a free port, a context manager. ``manner`` is ``well``, ``mute``, ``slow`` or a status."""

    def __init__(self, behind: str) -> None:
        """Hand on to the receiver at ``behind``."""
        self.behind = behind
        self.answers: list[Answer] = []
        self._manner, self.changed = "well", threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(handler) -> None:  # noqa: N805  (self is the front)
                self._take(handler)

            def log_message(handler, *_: object) -> None:  # noqa: N805
                """Say nothing."""

        self.server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://{LOOPBACK}:{self.server.server_port}"
        self.http = httpx2.Client(timeout=FORWARD_SECONDS, trust_env=False)

    def __enter__(self) -> Self:
        """Begin to listen."""
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.05}
        )
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening; who waits for an answer is cut off."""
        self.changed.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        self.http.close()

    @property
    def manner(self) -> str:
        """How it behaves now."""
        return self._manner

    @manner.setter
    def manner(self, manner: str) -> None:
        """Behave so from now on; whoever still waits for an answer is cut off."""
        self._manner = manner
        self.changed.set()
        self.changed = threading.Event()

    def _take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        batch = hashlib.blake2b(handler.path.encode() + body, digest_size=16).digest()
        manner, changed = self._manner, self.changed
        if manner == "mute":
            self.answers.append(Answer(time.monotonic(), batch, 0))
            changed.wait()
            handler.close_connection = True
            return
        if manner in ANSWERS:
            self._answer(
                handler,
                batch,
                ANSWERS[manner],
                b"",
                {"retry-after": str(RETRY_AFTER)} if manner == "429" else {},
            )
            return
        if manner == "slow":
            changed.wait(SLOW_SECONDS)
        told = {
            key: handler.headers[key]
            for key in ("content-type", "content-encoding")
            if key in handler.headers
        }
        try:
            said = self.http.post(self.behind + handler.path, content=body, headers=told)
        except httpx2.HTTPError:  # as the receiver behind it is gone, so is this
            handler.close_connection = True
            return
        kept = {
            key: said.headers[key] for key in ("content-type", "retry-after") if key in said.headers
        }
        self._answer(handler, batch, said.status_code, said.content, kept)

    def _answer(
        self,
        handler: BaseHTTPRequestHandler,
        batch: bytes,
        status: int,
        body: bytes,
        headers: dict[str, str],
    ) -> None:
        self.answers.append(Answer(time.monotonic(), batch, status))
        try:
            handler.send_response(status)
            for key, value in {**headers, "content-length": str(len(body))}.items():
                handler.send_header(key, value)
            handler.end_headers()
            handler.wfile.write(body)
        except OSError:  # it has hung up
            handler.close_connection = True


def behaviours(answers: list[Answer]) -> list[str]:
    """What a sender did against OTLP: came again sooner than a 429 asked for, or after a 400."""
    last: dict[bytes, Answer] = {}
    wrong: dict[str, int] = {}
    for each in sorted(answers, key=lambda answer: answer.time):
        before = last.get(each.batch)
        if (
            before
            and before.status == ANSWERS["429"]
            and each.time - before.time < RETRY_AFTER - EARLY_SECONDS
        ):
            wrong["sent again sooner than Retry-After asked"] = (
                wrong.get("sent again sooner than Retry-After asked", 0) + 1
            )
        if before and before.status == ANSWERS["400"]:
            wrong["sent again after a 400"] = wrong.get("sent again after a 400", 0) + 1
        last[each.batch] = each
    return [f"{count} batches {what}" for what, count in wrong.items()]
