"""A receiver in front of the real one: it forwards everything, and misbehaves on request."""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, Self

import httpx2

from three_pillar_demo.stack.components import LOOPBACK

Behaviour = Literal["normal", "mute", "slow", "429", "503", "400"]
"""``mute`` accepts requests and never answers; ``slow`` answers late; the others are statuses."""

RETRY_AFTER_S = 3
"""The ``Retry-After`` of a 429."""
SLOW_ANSWER_S = 3.0
"""How long ``slow`` waits before it forwards a request."""
REFUSALS: dict[str, int] = {"429": 429, "503": 503, "400": 400}
"""The behaviours that answer with a status without forwarding anything."""
FORWARD_TIMEOUT_S = 20.0
EARLY_TOLERANCE_S = 0.2
"""How much sooner than ``Retry-After`` a batch may be sent again.

The sender measures the pause with a clock of its own, and requests take time to arrive.
"""
POLL_INTERVAL_S = 0.05
REQUEST_HEADERS = ("content-type", "content-encoding")
RESPONSE_HEADERS = ("content-type", "retry-after")
NO_ANSWER = 0
"""The status of a request that got no answer."""


@dataclass(frozen=True)
class BatchAnswer:
    """One answer: its monotonic time, the hash of the batch, and the status or ``NO_ANSWER``."""

    time: float
    batch: bytes
    status: int


class FaultyReceiver:
    """An HTTP server on a free loopback port, used as a context manager."""

    def __init__(self, upstream: str) -> None:
        """Forward to the receiver at the base URL ``upstream``."""
        self.upstream = upstream
        self.answers: list[BatchAnswer] = []
        self._behaviour: Behaviour = "normal"
        self._changed = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(handler) -> None:  # noqa: N805  (`self` is the receiver)
                self._handle(handler)

            def log_message(handler, *_: object) -> None:  # noqa: N805
                """Log nothing."""

        self.server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://{LOOPBACK}:{self.server.server_port}"
        self.http = httpx2.Client(timeout=FORWARD_TIMEOUT_S, trust_env=False)

    def __enter__(self) -> Self:
        """Start to listen."""
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": POLL_INTERVAL_S}
        )
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening, and close the connections that wait for an answer."""
        self._changed.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        self.http.close()

    @property
    def behaviour(self) -> Behaviour:
        """The present behaviour."""
        return self._behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        """Change it, and close the connections that still wait for an answer."""
        self._behaviour = behaviour
        self._changed.set()
        self._changed = threading.Event()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        """Read one request and answer it as the present behaviour demands."""
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        batch = hashlib.blake2b(handler.path.encode() + body, digest_size=16).digest()
        behaviour = self._behaviour
        changed = self._changed
        if behaviour == "mute":
            self.answers.append(BatchAnswer(time.monotonic(), batch, NO_ANSWER))
            changed.wait()
            handler.close_connection = True
            return
        if behaviour in REFUSALS:
            headers = {"retry-after": str(RETRY_AFTER_S)} if behaviour == "429" else {}
            self._answer(handler, batch, REFUSALS[behaviour], b"", headers)
            return
        if behaviour == "slow":
            changed.wait(SLOW_ANSWER_S)
        self._forward(handler, batch, body)

    def _forward(self, handler: BaseHTTPRequestHandler, batch: bytes, body: bytes) -> None:
        """Send the request to the real receiver and pass its answer on.

        Without an answer the connection is closed, as a receiver that has died would do.
        """
        headers = {
            name: handler.headers[name] for name in REQUEST_HEADERS if name in handler.headers
        }
        try:
            response = self.http.post(self.upstream + handler.path, content=body, headers=headers)
        except httpx2.HTTPError:
            handler.close_connection = True
            return
        kept = {
            name: response.headers[name] for name in RESPONSE_HEADERS if name in response.headers
        }
        self._answer(handler, batch, response.status_code, response.content, kept)

    def _answer(
        self,
        handler: BaseHTTPRequestHandler,
        batch: bytes,
        status: int,
        body: bytes,
        headers: dict[str, str],
    ) -> None:
        self.answers.append(BatchAnswer(time.monotonic(), batch, status))
        try:
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.send_header("content-length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)
        except OSError:  # The client has closed the connection.
            handler.close_connection = True


def otlp_violations(answers: Iterable[BatchAnswer]) -> list[str]:
    """Return what the sender did against the OTLP specification, one line for each kind.

    A batch must not be sent again sooner than a 429 asked for, and never after a 400.
    """
    violations: Counter[str] = Counter()
    last_answers: dict[bytes, BatchAnswer] = {}
    for answer in sorted(answers, key=lambda answer: answer.time):
        previous = last_answers.get(answer.batch)
        last_answers[answer.batch] = answer
        if previous is None:
            continue
        pause = answer.time - previous.time
        if previous.status == REFUSALS["429"] and pause < RETRY_AFTER_S - EARLY_TOLERANCE_S:
            violations["sent again sooner than Retry-After asked"] += 1
        if previous.status == REFUSALS["400"]:
            violations["sent again after a 400"] += 1
    return [f"{count} batches {violation}" for violation, count in violations.items()]
