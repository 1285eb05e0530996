"""Open-loop load: requests at a fixed rate, however long the answers take.

Each latency is counted from the planned time of the request. So if the service stalls, every
request that was due during the stall counts as slow. In a closed loop such as wrk, a connection
waits for an answer before it sends the next request. There, a stall counts as only one slow request
for each connection.
"""

import gc
import select
import socket
import time
from collections import deque

from bench.http.arms import Route
from bench.http.load import Load, percentile

CONNECTIONS = 64
TIMEOUT_S = 5.0
"""How long answers are awaited after the end of the run, in seconds.

A request without an answer by then counts as an error.
"""
START_DELAY_S = 0.01
IDLE_WAIT_S = 0.1
"""The timeout of one ``select`` call after all requests have become due, in seconds."""
SUCCESS = b"HTTP/1.1 2"
HEADER_END = b"\r\n\r\n"


class Connection:
    """A connection that carries one request at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.planned = 0.0
        self.received = b""

    def fileno(self) -> int:
        """Return the file descriptor of the socket, which ``select`` needs."""
        return self.socket.fileno()

    def send(self, request: bytes, planned: float) -> None:
        """Send a request that was due at ``planned``, a time of ``time.perf_counter()``."""
        self.planned = planned
        self.received = b""
        self.socket.sendall(request)

    def read(self) -> bool | None:
        """Read the bytes that have arrived.

        Returns:
            True for a complete answer with status 2xx; False for another status or a closed
            connection; None while the answer is incomplete.
        """
        try:
            data = self.socket.recv(65536)
        except OSError:
            return False
        self.received += data
        if self._is_complete():
            return self.received.startswith(SUCCESS)
        return None if data else False

    def _is_complete(self) -> bool:
        end = self.received.find(HEADER_END)
        if end < 0:
            return False
        body_start = end + len(HEADER_END)
        _, _, length = self.received[:body_start].lower().partition(b"content-length:")
        return len(self.received) >= body_start + int(length.partition(b"\r\n")[0])


class OpenLoop:
    """One run of open-loop load: requests are due at fixed times, however long answers take.

    The connections take turns, so that none is idle for long.
    """

    def __init__(self, port: int, request: bytes) -> None:
        self.port = port
        self.request = request
        self.idle = deque(Connection(port) for _ in range(CONNECTIONS))
        self.busy: set[Connection] = set()
        self.due: deque[float] = deque()
        """The planned times of the requests that wait for a free connection."""
        self.latencies: list[float] = []
        self.delays: list[float] = []
        """For each request, the seconds from its planned time until it was put into ``due``."""
        self.errors = 0

    def run(self, rate: float, seconds: float) -> None:
        """Send ``rate`` requests a second for ``seconds``, and wait for the answers."""
        began = time.perf_counter() + START_DELAY_S
        end = began + seconds
        number = 0
        planned = began
        while planned < end or self.due or self.busy:
            now = time.perf_counter()
            if now >= end + TIMEOUT_S:
                break
            while planned < end and planned <= now:
                self.due.append(planned)
                self.delays.append(now - planned)
                number += 1
                planned = began + number / rate
            self._send_due()
            wait = planned - time.perf_counter() if planned < end else IDLE_WAIT_S
            # select waits in microseconds, asyncio and epoll only in milliseconds.
            for connection in select.select(self.busy, (), (), max(0.0, wait))[0]:
                self._receive(connection)

    def _send_due(self) -> None:
        while self.due and self.idle:
            connection = self.idle.popleft()
            connection.send(self.request, self.due.popleft())
            self.busy.add(connection)

    def _receive(self, connection: Connection) -> None:
        succeeded = connection.read()
        if succeeded is None:
            return
        self.busy.remove(connection)
        if succeeded:
            self.latencies.append(time.perf_counter() - connection.planned)
            self.idle.append(connection)
        else:
            self.errors += 1
            connection.socket.close()
            self.idle.append(Connection(self.port))

    def close(self) -> None:
        """Close all connections."""
        for connection in (*self.idle, *self.busy):
            connection.socket.close()


def steady(port: int, route: Route, rate: float, seconds: float) -> Load:
    """Send ``rate`` requests a second to ``route`` for ``seconds``, evenly spaced in time."""
    loop = OpenLoop(port, _encode(route))
    cpu_before = time.process_time()
    began = time.perf_counter()
    gc.disable()
    try:
        loop.run(rate, seconds)
    finally:
        gc.enable()
        loop.close()
    cpu = (time.process_time() - cpu_before) / (time.perf_counter() - began)
    return Load(
        requests=len(loop.latencies),
        seconds=seconds,
        errors=loop.errors + len(loop.busy) + len(loop.due),
        p50=percentile(loop.latencies, 0.5) * 1000,
        p99=percentile(loop.latencies, 0.99) * 1000,
        cpu=cpu,
        late=percentile(loop.delays, 0.99) * 1000,
    )


def _encode(route: Route) -> bytes:
    if not route.body:
        return f"GET {route.path} HTTP/1.1\r\nhost: bench\r\n\r\n".encode()
    headers = (
        f"host: bench\r\ncontent-type: application/json\r\ncontent-length: {len(route.body)}\r\n"
    )
    return f"POST {route.path} HTTP/1.1\r\n{headers}\r\n{route.body}".encode()
