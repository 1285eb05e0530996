"""The arms: the same app each time, and what tells of it."""

from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
ZERO_CODE = ROOT / ".venv-bench" / "bin"
"""Where ``make bench`` installs OpenTelemetry's distribution: an environment of its own, or it would instrument every arm."""


@dataclass(frozen=True)
class Arm:
    """One way to tell of requests; ``how`` is what ``bench/http/app.py`` makes of the services' ``telemetry.install``."""

    words: str
    how: str = "install"
    settings: dict[str, str] = field(default_factory=dict[str, str])
    python: tuple[str, ...] = (str(ROOT / ".venv/bin/python"),)


ARMS = {
    "bare": Arm("the app without telemetry", how="bare"),
    "ours": Arm("telemetry.install: all three signals, every request, one line"),
    "always_off": Arm(
        "ours with OTEL_TRACES_SAMPLER=always_off", settings={"OTEL_TRACES_SAMPLER": "always_off"}
    ),
    "spans": Arm(
        "the FastAPI instrumentation alone: one span a request, no metrics, no line", how="spans"
    ),
    "disabled": Arm("ours with OTEL_SDK_DISABLED=true", settings={"OTEL_SDK_DISABLED": "true"}),
    "zero-code": Arm(
        "opentelemetry-instrument with its defaults, by OTLP over HTTP as the others",
        how="bare",
        settings={"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
        python=(str(ZERO_CODE / "opentelemetry-instrument"), str(ZERO_CODE / "python")),
    ),
    "fastapi": Arm(
        "FastAPI's own telemetry with its defaults (no span for the call to payment, no lines)",
        how="bare",
        settings={"FASTAPI_OTEL_AUTO_CONFIGURE": "true"},
    ),
}


@dataclass(frozen=True)
class Route:
    """What is asked of which app."""

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
