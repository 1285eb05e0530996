"""Open loop: requests at a fixed rate, whatever the answers take, each timed from the moment that was planned for it.

wrk waits for an answer before it asks again: a service that stalls is asked less, and the stall is one slow request instead of
all those that would have come meanwhile. ``select`` waits in microseconds, where asyncio and epoll count in milliseconds.
"""

import gc
import select
import socket
import time
from collections import deque
from itertools import count

from bench.http.arms import Route
from bench.http.load import Load, percentile

CONNECTIONS = 64
PATIENCE = 5.0
"""Seconds after the last planned moment; what has no answer then is an error."""
OK = b"HTTP/1.1 2"


class _Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.planned, self.said = 0.0, b""

    def fileno(self) -> int:
        return self.socket.fileno()

    def whole(self) -> bool | None:
        """Read; True once a good answer is whole, False for a bad one or none, None while it is on its way."""
        try:
            data = self.socket.recv(65536)
        except OSError:
            return False
        self.said += data
        end = self.said.find(b"\r\n\r\n") + 4
        if end > 3:  # noqa: PLR2004
            _, _, length = self.said[:end].lower().partition(b"content-length:")
            if len(self.said) >= end + int(length.partition(b"\r\n")[0]):
                return self.said.startswith(OK)
        return None if data else False


def steady(port: int, route: Route, rate: float, seconds: float) -> Load:
    """Ask ``rate`` times a second, evenly; connections take turns, so that none is idle for long."""
    body = (
        f"content-type: application/json\r\ncontent-length: {len(route.body)}\r\n\r\n{route.body}"
        if route.body
        else "\r\n"
    )
    request = (
        f"{'POST' if route.body else 'GET'} {route.path} HTTP/1.1\r\nhost: bench\r\n{body}".encode()
    )
    idle = deque(_Connection(port) for _ in range(CONNECTIONS))
    busy: set[_Connection] = set()
    due: deque[float] = deque()
    took, late, errors, cpu = [], [], 0, time.process_time()
    gc.disable()
    began = time.perf_counter() + 0.01
    plan = (began + number / rate for number in count())
    coming, end = next(plan), began + seconds
    while (coming < end or due or busy) and time.perf_counter() < end + PATIENCE:
        while coming < end and coming <= time.perf_counter():
            due.append(coming)
            late.append(time.perf_counter() - coming)
            coming = next(plan)
        while due and idle:
            connection = idle.popleft()
            connection.planned, connection.said = due.popleft(), b""
            connection.socket.sendall(request)
            busy.add(connection)
        wait = coming - time.perf_counter() if coming < end else 0.1
        for connection in select.select(busy, (), (), max(0.0, wait))[0]:
            good = connection.whole()
            if good is None:
                continue
            busy.remove(connection)
            if good:
                took.append(time.perf_counter() - connection.planned)
            else:
                errors += 1
                connection.socket.close()
            idle.append(connection if good else _Connection(port))
    gc.enable()
    for connection in (*idle, *busy):
        connection.socket.close()
    share = (time.process_time() - cpu) / (time.perf_counter() - began)
    p50, p99 = (percentile(took, part) * 1000 for part in (0.5, 0.99))
    return Load(
        len(took),
        seconds,
        errors + len(busy) + len(due),
        p50,
        p99,
        share,
        percentile(late, 0.99) * 1000,
    )
