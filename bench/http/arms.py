"""The arms of the benchmark: the same app each time, with different telemetry."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from three_pillars.fast_paths import NAMES, NONE

ROOT = Path(__file__).parent.parent.parent
ZERO_CODE = ROOT / ".venv-bench" / "bin"
"""The folder with the commands of OpenTelemetry's zero-code instrumentation.

``make bench`` creates this separate environment. If the zero-code instrumentation were installed in
the demo's environment, it would affect every arm.
"""
PREVIOUS_COMMIT = "3a181dc"
"""The commit of the previous release, with which the arm ``previous`` compares this one.

After a release, its own commit is entered here.
"""
PREVIOUS = ROOT / ".bench-previous" / PREVIOUS_COMMIT
"""The folder of the previous release, with its own environment; ``bench.http.previous`` sets it up.
"""
PEER_REPOSITORY = "https://github.com/blueswen/fastapi-observability"
"""The public demo that is closest to this one: FastAPI with traces, metrics with exemplars, logs.
"""
PEER_COMMIT = "132a3c576f8b09e5311c68bd553215013bc75685"
PEER = ROOT / ".bench-peer" / PEER_COMMIT[:7]
"""The folder of the peer, with its own environment; ``bench.http.peer`` sets it up."""


@dataclass(frozen=True)
class Route:
    """A request to measure: the app that serves it, its path, and its JSON body (empty: a GET)."""

    app: str
    path: str
    body: str = ""


ROUTES = {
    "nothing": Route("nothing", "/nothing"),
    "charges": Route(
        "payment",
        "/charges",
        '{"order_id":"bench-1","amount":"9.00","currency":"EUR","card":"ordinary"}',
    ),
    "checkout": Route(
        "checkout",
        "/checkout",
        '{"items":[{"sku":"tea","quantity":2,"unit_price":4.5}],"card":"ordinary"}',
    ),
}


@dataclass(frozen=True)
class Arm:
    """One variant of the app that is measured: the same app with one kind of telemetry.

    Attributes:
        description: Which telemetry the arm has.
        mode: How ``bench/http/app.py`` installs telemetry: ``install``, ``spans`` or ``bare``.
        settings: Environment variables of the service.
        python: The command that runs Python.
        root: The folder whose code runs: this checkout, that of the previous release, or the peer.
        program: The arguments of Python that start the app.
        paths: The routes of ``ROUTES`` that the arm serves under another path, with that path.
            An arm with such routes serves no others.
    """

    description: str
    mode: str = "install"
    settings: dict[str, str] = field(default_factory=dict[str, str])
    python: tuple[str, ...] = (str(ROOT / ".venv/bin/python"),)
    root: Path = ROOT
    program: tuple[str, ...] = ("-m", "bench.http.app")
    paths: dict[str, str] = field(default_factory=dict[str, str])

    def serves(self, route_name: str) -> bool:
        """Return whether the arm can serve the route called ``route_name``."""
        return not self.paths or route_name in self.paths

    def route(self, route_name: str) -> Route:
        """Return the request to measure for the route called ``route_name``."""
        route = ROUTES[route_name]
        return replace(route, path=self.paths.get(route_name, route.path))


ARMS = {
    "bare": Arm("the app without telemetry", mode="bare"),
    "ours": Arm("three_pillars.install: all three signals, every request, one log record"),
    "previous": Arm(
        f"the previous release ({PREVIOUS_COMMIT}), with its own library, services and packages",
        python=(str(PREVIOUS / ".venv/bin/python"),),
        root=PREVIOUS,
    ),
    "always_off": Arm(
        "ours with OTEL_TRACES_SAMPLER=always_off", settings={"OTEL_TRACES_SAMPLER": "always_off"}
    ),
    "spans": Arm(
        "the FastAPI instrumentation alone: one span a request, no metrics, no log record",
        mode="spans",
    ),
    "disabled": Arm("ours with OTEL_SDK_DISABLED=true", settings={"OTEL_SDK_DISABLED": "true"}),
    "zero-code": Arm(
        "opentelemetry-instrument with its defaults, by OTLP over HTTP like the others",
        mode="bare",
        settings={"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
        python=(str(ZERO_CODE / "opentelemetry-instrument"), str(ZERO_CODE / "python")),
    ),
    "fastapi": Arm(
        "FastAPI's own telemetry with its defaults (no client span, no log records)",
        mode="bare",
        settings={"FASTAPI_OTEL_AUTO_CONFIGURE": "true"},
    ),
    "peer": Arm(
        f"the app of {PEER_REPOSITORY} ({PEER_COMMIT[:7]}), with its own packages",
        python=(str(PEER / ".venv/bin/python"),),
        root=PEER / "fastapi_app",
        program=(str(ROOT / "bench/http/peer_app.py"),),
        paths={"nothing": "/"},
    ),
}


def _with_fast_paths(description: str, fast_paths: str) -> Arm:
    """Return the arm ``ours`` with a value of the setting ``fast_paths``."""
    variables = ("CHECKOUT_FAST_PATHS", "PAYMENT_FAST_PATHS", "NOTHING_FAST_PATHS")
    return Arm(description, settings=dict.fromkeys(variables, fast_paths))


ARMS["plain"] = _with_fast_paths("ours without its fast paths", NONE)

IN_PROCESS_ARMS = {name: ARMS[name] for name in ("previous", "plain", "ours", "spans")}
"""The arms that ``bench.http.in_process`` can measure.

For each fast path there is an arm with it and those before it, in the order of ``FastPaths``; so
the difference to the arm before shows what it gives. The other arms of ``ARMS`` would instrument
the application without telemetry in the same process as well.
"""
for _count, _name in enumerate(NAMES, 1):
    IN_PROCESS_ARMS[f"+{_name}"] = _with_fast_paths(
        f"the fast paths up to {_name}", ",".join(NAMES[:_count])
    )
