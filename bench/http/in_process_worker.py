"""One process that measures the CPU time of requests without and with telemetry, in turn.

``python -P bench/http/in_process_worker.py JOB RESULT`` calls two copies of an application, one
without and one with telemetry, in alternating blocks of requests, without a server. It is run by
its path, because it also measures the code of another release, which may not contain this file:
``bench.http.app`` is that of the environment whose Python runs it.

JOB is a JSON text with the keys ``app``, ``mode``, ``path``, ``body``, ``rounds`` and ``requests``.
RESULT is the file to which the result is written, also in JSON; its keys are those of ``Result``.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict

import uvloop
from fastapi import FastAPI

import three_pillars
from bench.http import app as bench_app

WARM_UP_REQUESTS = 300
SETTLE_S = 1.5
"""Seconds after the warm-up in which its telemetry is exported."""
HEADERS = [
    (b"host", b"127.0.0.1:8000"),
    (b"user-agent", b"curl/8.14.1"),
    (b"accept", b"*/*"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"connection", b"keep-alive"),
]
"""The headers of an ordinary client."""
WITHOUT_FASTAPI_TELEMETRY = {"fastapi.telemetry": None}
"""The key of the ASGI scope that keeps FastAPI's own telemetry inactive.

It would record the requests of the application without telemetry, because the other application has
set the global providers of the process.
"""
MICROS = 1e6
OK = 200


class Result(TypedDict):
    """The CPU times of the two applications, in microseconds a request.

    ``bare`` and ``telemetry`` have one figure for each block of requests: the time of the thread
    that serves them. ``exports`` is the time of all other threads, which encode and send the
    telemetry, divided by the number of requests with telemetry.
    """

    bare: list[float]
    telemetry: list[float]
    exports: float


def build(name: str, mode: str) -> FastAPI:
    """Return the application ``name`` with the telemetry of ``mode``, as ``bench.http.app`` does.

    ``bench.http.app`` replaces functions of the library; they are restored afterwards.
    """
    originals = {
        name: getattr(three_pillars, name)
        for name in ("install", "instrument_client", "reduce_pauses")
    }
    sys.argv = ["bench.http.app", name, "0", mode]
    try:
        return bench_app.build()
    finally:
        for function_name, function in originals.items():
            setattr(three_pillars, function_name, function)


class Requests:
    """Sends one kind of request to an application, as a server would, and checks the answers."""

    def __init__(
        self, app: FastAPI, path: str, body: str, extensions: Mapping[str, None] | None = None
    ) -> None:
        """Prepare requests to ``path`` of ``app``: POST with the JSON ``body``, or GET if empty.

        ``extensions`` are further keys of the ASGI scope.
        """
        self.app = app
        self.extensions = extensions or {}
        self.path = path
        self.body = body.encode()
        self.headers = list(HEADERS)
        if body:
            length = str(len(self.body)).encode()
            self.headers += [(b"content-type", b"application/json"), (b"content-length", length)]

    async def block(self, count: int) -> float:
        """Send ``count`` requests, one after the other; return the CPU microseconds of each."""
        began = time.thread_time()
        for _ in range(count):
            # A task for each request, as in a server, so that each has a context of its own.
            await asyncio.create_task(self._send_one())
        return (time.thread_time() - began) / count * MICROS

    async def _send_one(self) -> None:
        statuses = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": self.body, "more_body": False}

        async def send(message: Any) -> None:  # noqa: ANN401  (ASGI)
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await self.app(self._scope(), receive, send)
        if statuses != [OK]:
            raise SystemExit(f"{self.path} answered {statuses}")

    def _scope(self) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 50000),
            "scheme": "http",
            "method": "POST" if self.body else "GET",
            "root_path": "",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"",
            "headers": list(self.headers),
            "state": {},
            **self.extensions,
        }


async def measure(job: dict[str, Any]) -> Result:
    """Build the two applications, send the requests of ``job`` in alternating blocks, and stop."""
    bare_app = build(job["app"], "bare")
    app = build(job["app"], job["mode"])
    bare = Requests(bare_app, job["path"], job["body"], WITHOUT_FASTAPI_TELEMETRY)
    telemetry = Requests(app, job["path"], job["body"])
    result = Result(bare=[], telemetry=[], exports=0)
    async with bare_app.router.lifespan_context(bare_app):
        async with app.router.lifespan_context(app):
            await bare.block(WARM_UP_REQUESTS)
            await telemetry.block(WARM_UP_REQUESTS)
            await asyncio.sleep(SETTLE_S)
            exports_before = _other_threads_time()
            for _ in range(job["rounds"]):
                result["bare"].append(await bare.block(job["requests"]))
                result["telemetry"].append(await telemetry.block(job["requests"]))
        # Now the telemetry has been flushed.
        exports = _other_threads_time() - exports_before
    result["exports"] = exports / (job["rounds"] * job["requests"]) * MICROS
    return result


def _other_threads_time() -> float:
    return time.process_time() - time.thread_time()


def main(run: Callable[..., Any] = uvloop.run) -> None:
    """Measure the job of the command line, and write the result into its file."""
    job, result_file = sys.argv[1:]
    result = run(measure(json.loads(job)))
    Path(result_file).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
