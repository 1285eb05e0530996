"""The load: wrk, with as many requests under way as it has connections; it reports in JSON."""

import json
import resource
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.http.arms import Route
from bench.http.running import REST

CONNECTIONS = 16
PACKAGES = {"wrk": "wrk", "taskset": "util-linux"}
"""Tools that are found on PATH, and the Debian packages that have them."""
SCRIPT = """
wrk.method, wrk.body, wrk.headers["content-type"] = "%s", %s, "application/json"
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\\n{"requests":%%d,"micros":%%d,"socket":%%d,"status":%%d,"p50":%%d,"p99":%%d}\\n', summary.requests,
    summary.duration, e.connect + e.read + e.write + e.timeout, e.status, latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Load:
    """What a load generator saw; times in milliseconds."""

    requests: int
    seconds: float
    errors: int
    p50: float
    p99: float
    cpu: float
    """Of a core, that the generator took."""
    late: float = 0
    """How much later than planned it came to a request, p99: what a generator itself adds to what it measures."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def found(tool: str = "wrk") -> str:
    """Where ``tool`` is; without it the run ends in a line that says how to get it."""
    if path := shutil.which(tool):
        return path
    raise SystemExit(f"{tool} is not on PATH (Debian and Ubuntu: apt install {PACKAGES[tool]})")


def version() -> str:
    """What wrk calls itself."""
    said = subprocess.run(
        [found(), "-v"], check=False, capture_output=True, text=True
    )  # it exits with 1
    return " ".join(said.stdout.split()[:2])


def wrk(port: int, route: Route, seconds: int) -> Load:
    """Load ``route`` for ``seconds``."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "wrk.lua"
        script.write_text(
            SCRIPT % ("POST" if route.body else "GET", f"[[{route.body}]]" if route.body else "nil")
        )
        command = [found(), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script)]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        said = subprocess.run(
            ["taskset", "-c", REST, *command, f"http://127.0.0.1:{port}{route.path}"],
            check=True,
            capture_output=True,
            text=True,
        )
        took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    told = json.loads(said.stdout.strip().splitlines()[-1])
    errors, millis = told["socket"] + told["status"], [told[each] / 1000 for each in ("p50", "p99")]
    cpu = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / took
    return Load(told["requests"], told["micros"] / 1e6, errors, millis[0], millis[1], cpu)


def percentile(values: list[float], part: float) -> float:
    """The value that ``part`` (0 to 1) of ``values`` do not exceed; 0 when there is none."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))] if values else 0.0
