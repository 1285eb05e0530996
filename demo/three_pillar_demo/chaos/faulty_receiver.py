"""An OTLP receiver in front of the real one: it forwards every request, or misbehaves on demand."""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, Self

import httpx2

from three_pillar_demo.stack.plain_http import NO_CERTIFICATES
from three_pillar_demo.stack.ports import LOOPBACK

Behaviour = Literal["normal", "mute", "slow", "429", "503", "400"]
"""How the receiver treats a request.

- ``normal``: forward the request.
- ``slow``: wait for ``SLOW_ANSWER_S``, then forward the request.
- ``mute``: never answer.
- ``429``, ``503``, ``400``: answer with this HTTP status; the request is not forwarded.
"""

RETRY_AFTER_S = 3
"""The value of the header ``Retry-After`` of a 429, in seconds."""
SLOW_ANSWER_S = 3.0
"""Seconds that the behaviour ``slow`` waits before it forwards a request."""
REFUSALS: dict[str, int] = {"429": 429, "503": 503, "400": 400}
"""The HTTP status of each behaviour that answers without forwarding the request."""
FORWARD_TIMEOUT_S = 20.0
"""Seconds that the real receiver has to answer a forwarded request."""
EARLY_TOLERANCE_S = 0.2
"""Seconds by which a retry may come earlier than ``Retry-After`` asks.

The sender measures the pause with a clock of its own, and requests take time to arrive.
"""
POLL_INTERVAL_S = 0.05
"""Seconds between two checks of whether the server must stop."""
REQUEST_HEADERS = ("content-type", "content-encoding")
"""The headers of a request that are forwarded."""
RESPONSE_HEADERS = ("content-type", "retry-after")
"""The headers of the real receiver's answer that are passed on."""
NO_ANSWER = 0
"""The ``BatchAnswer.status`` of a request that got no answer."""


@dataclass(frozen=True)
class BatchAnswer:
    """How one batch of telemetry was answered.

    Attributes:
        time: The time of the answer, in seconds of the monotonic clock. Without an answer it is the
            time at which the batch arrived.
        batch: A hash of the batch, which is the same when the batch is sent again.
        status: The HTTP status, or ``NO_ANSWER``.
    """

    time: float
    batch: bytes
    status: int


class FaultyReceiver:
    """An OTLP receiver on a free loopback port that can misbehave; use it as a context manager.

    ``url`` is the base URL of this receiver. ``behaviour`` can be set at any time. ``answers`` has
    an entry for each answer, and for each request to which the behaviour ``mute`` gave no answer.
    """

    def __init__(self, upstream: str) -> None:
        """Choose a port; ``upstream`` is the base URL of the real receiver."""
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
        self.http = httpx2.Client(
            timeout=FORWARD_TIMEOUT_S, trust_env=False, verify=NO_CERTIFICATES
        )

    def __enter__(self) -> Self:
        """Start to serve requests."""
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
        """How requests are treated now."""
        return self._behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        """Change the behaviour, and close the connections that still wait for an answer."""
        self._behaviour = behaviour
        self._changed.set()
        self._changed = threading.Event()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        """Read one request, and treat it as the present behaviour says."""
        body = _read_body(handler)
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
        """Send the request to the real receiver, and pass that receiver's answer to the sender.

        If the real receiver does not answer, the sender's connection is closed without an answer.
        """
        headers = {
            name: handler.headers[name] for name in REQUEST_HEADERS if name in handler.headers
        }
        try:
            response = self.http.post(self.upstream + handler.path, content=body, headers=headers)
        except httpx2.HTTPError:
            handler.close_connection = True
            return
        response_headers = {
            name: response.headers[name] for name in RESPONSE_HEADERS if name in response.headers
        }
        self._answer(handler, batch, response.status_code, response.content, response_headers)

    def _answer(
        self,
        handler: BaseHTTPRequestHandler,
        batch: bytes,
        status: int,
        body: bytes,
        headers: dict[str, str],
    ) -> None:
        """Record the answer in ``answers``, and send it to the sender of the batch."""
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


def _read_body(handler: BaseHTTPRequestHandler) -> bytes:
    """Return the body of a request, which has a length or is sent in chunks."""
    if handler.headers.get("transfer-encoding", "").lower() != "chunked":
        return handler.rfile.read(int(handler.headers.get("content-length", 0)))
    chunks = []
    while size := int(handler.rfile.readline().partition(b";")[0], 16):
        chunks.append(handler.rfile.read(size))
        handler.rfile.readline()
    while handler.rfile.readline().strip():
        """Skip a field after the last chunk."""
    return b"".join(chunks)


def otlp_violations(answers: Iterable[BatchAnswer]) -> list[str]:
    """Return how the sender violated the OTLP specification, one line for each kind of violation.

    After a 429, a batch must not be sent again before the pause in ``Retry-After`` is over. After a
    400, a batch must never be sent again.
    """
    violations: Counter[str] = Counter()
    latest_answers: dict[bytes, BatchAnswer] = {}
    for answer in sorted(answers, key=lambda answer: answer.time):
        previous = latest_answers.get(answer.batch)
        latest_answers[answer.batch] = answer
        if previous is None:
            continue
        pause = answer.time - previous.time
        if previous.status == REFUSALS["429"] and pause < RETRY_AFTER_S - EARLY_TOLERANCE_S:
            violations["sent again sooner than Retry-After asked"] += 1
        if previous.status == REFUSALS["400"]:
            violations["sent again after a 400"] += 1
    return [f"{count} batches {violation}" for violation, count in violations.items()]
