"""Closed-loop load by wrk: a connection sends its next request only after the last answer."""

import json
import resource
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.http.arms import Route
from bench.http.running import OTHER_CORE

CONNECTIONS = 16
PACKAGES = {"wrk": "wrk", "taskset": "util-linux"}
"""The Debian package that contains each required tool."""
SCRIPT = """
wrk.method, wrk.body, wrk.headers["content-type"] = "%s", %s, "application/json"
function done(summary, latency)
  local errors = summary.errors
  local socket = errors.connect + errors.read + errors.write + errors.timeout
  local format = '\\n{"requests":%%d,"micros":%%d,"socket":%%d,"status":%%d,"p50":%%d,"p99":%%d}\\n'
  io.write(string.format(format, summary.requests, summary.duration, socket, errors.status,
    latency:percentile(50), latency:percentile(99)))
end
"""
"""A Lua script for wrk: it sends the request and prints the results as one line of JSON. Its two
placeholders are the HTTP method and the body."""


@dataclass(frozen=True)
class Load:
    """The results of one run of a load generator.

    Attributes:
        requests: Number of answered requests. wrk counts answers of any status, ``steady`` counts
            only those with status 2xx.
        seconds: Duration of the run in seconds.
        errors: Number of requests without an answer, or with a status other than 2xx.
        p50: Median latency in milliseconds.
        p99: 99th percentile of the latency in milliseconds.
        cpu: CPU time of the load generator as a share of one core (1 is a whole core).
        late: How late the load generator was, in milliseconds: the 99th percentile of the time
            from the planned time of a request until the generator noticed that it was due.
            Always 0 for wrk, which plans no times.
    """

    requests: int
    seconds: float
    errors: int
    p50: float
    p99: float
    cpu: float
    late: float = 0

    @property
    def rate(self) -> float:
        """Answered requests per second."""
        return self.requests / self.seconds


def find_tool(name: str = "wrk") -> str:
    """Return the path of the tool ``name``.

    If it is not installed, end the program with a message that names its Debian package.
    """
    path = shutil.which(name)
    if not path:
        raise SystemExit(f"{name} is not on PATH (Debian and Ubuntu: apt install {PACKAGES[name]})")
    return path


def wrk_version() -> str:
    """Return the name and the version of wrk, as ``wrk -v`` prints them."""
    # wrk -v exits with 1.
    output = subprocess.run([find_tool(), "-v"], check=False, capture_output=True, text=True)
    return " ".join(output.stdout.split()[:2])


def wrk(port: int, route: Route, seconds: int) -> Load:
    """Send requests to ``route`` for ``seconds``, by wrk with ``CONNECTIONS`` (16) connections."""
    method = "POST" if route.body else "GET"
    lua_body = f"[[{route.body}]]" if route.body else "nil"
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "wrk.lua"
        script.write_text(SCRIPT % (method, lua_body))
        options = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script)]
        url = f"http://127.0.0.1:{port}{route.path}"
        cpu_before = _children_cpu_seconds()
        began = time.monotonic()
        output = subprocess.run(
            ["taskset", "-c", OTHER_CORE, find_tool(), *options, url],
            check=True,
            capture_output=True,
            text=True,
        )
        duration = time.monotonic() - began
        cpu = (_children_cpu_seconds() - cpu_before) / duration
    figures = json.loads(output.stdout.strip().splitlines()[-1])
    return Load(
        requests=figures["requests"],
        seconds=figures["micros"] / 1e6,
        errors=figures["socket"] + figures["status"],
        p50=figures["p50"] / 1000,
        p99=figures["p99"] / 1000,
        cpu=cpu,
    )


def _children_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def percentile(values: list[float], share: float) -> float:
    """Return the ``share`` quantile (0.99 is the 99th percentile) of ``values``; 0 if empty."""
    if not values:
        return 0.0
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
