"""The settings that both services have, and the function that runs a service in uvicorn."""

from typing import Self

import uvicorn
from pydantic import Field, field_validator, model_validator

from three_pillars import log_to_stdout
from three_pillars.fast_paths import ALL, NAMES, NONE, check_fast_paths
from three_pillars.http_protocol import BoundedHttpProtocol
from three_pillars.settings import Settings
from three_pillars.trusted_callers import check_networks

SHUTDOWN_TIMEOUT_S = 4
"""Seconds that a stopping service waits for active requests.

By default, the slowest request takes 2 s in checkout (the time limit for payment) and 3 s in
payment (the card ``slow``).
"""

KEEP_ALIVE_S = 15
"""Seconds after which the server closes an idle connection.

The server keeps an idle connection longer than clients do (httpx: 5 s). Otherwise the server could
close a connection just when a client sends its next request.
"""

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class ServiceSettings(Settings):
    """The settings of every service.

    A subclass adds its own fields and the prefix of its environment variables.
    """

    bind: str = Field("127.0.0.1", min_length=1, description="Address to listen on")
    port: int = Field(ge=1, le=65535, description="Port to listen on, 1 to 65535")
    workers: int = Field(1, ge=1, le=64, description="uvicorn worker processes, 1 to 64")
    trusted_networks: str = Field(
        "",
        description="Networks of callers whose traces are continued, comma-separated, or * for all",
    )
    fast_paths: str = Field(
        ALL,
        description=(
            f"Fast paths of the telemetry library: {ALL}, {NONE}, or of {', '.join(NAMES)}, "
            "comma-separated"
        ),
    )
    drills: str = Field(
        "",
        description="File in which a drill turns faults on; refused where BIND is not loopback",
    )

    _trusted_networks_are_networks = field_validator("trusted_networks")(check_networks)
    _fast_paths_are_known = field_validator("fast_paths")(check_fast_paths)

    @model_validator(mode="after")
    def _drills_require_loopback(self) -> Self:
        """Raise ValueError if ``drills`` is set and the service listens beyond loopback."""
        if self.drills and self.bind not in LOOPBACK:
            drills = self.variable("drills")
            bind = self.variable("bind")
            raise ValueError(f"{drills} requires a loopback {bind}")
        return self


def serve(factory: str, settings: ServiceSettings) -> None:
    """Run the application that ``factory`` builds in uvicorn until SIGTERM or SIGINT.

    ``factory`` names a function as "module:function", which uvicorn calls once in each worker
    process.
    """
    log_to_stdout()
    uvicorn.run(
        factory,
        factory=True,
        http=BoundedHttpProtocol,
        ws="none",  # so that the offer of a WebSocket is ignored too
        host=settings.bind,
        port=settings.port,
        workers=settings.workers,
        access_log=False,  # the canonical log line says the same, with the trace id
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
