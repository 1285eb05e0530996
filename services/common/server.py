"""The edge of a process: what every service can be told, and uvicorn."""

from typing import Self

import uvicorn
from pydantic import Field, field_validator, model_validator

import three_pillars
from three_pillars.http_protocol import BoundedHttpProtocol
from three_pillars.settings import Settings
from three_pillars.trusted_callers import networks

STOP_SECONDS = 4
"""How long a stopping service waits for requests under way; the slowest takes checkout's own limit of 2 s by default."""


class EdgeSettings(Settings):
    """What every service has; a service adds its own fields and its prefix."""

    bind: str = Field("127.0.0.1", min_length=1, description="Address to listen on")
    port: int = Field(ge=1, le=65535)
    workers: int = Field(1, ge=1, le=64, description="uvicorn worker processes, 1 to 64")
    inside: str = Field(
        "",
        description="Networks of callers whose traces go on here, comma-separated, or *; nobody by default",
    )
    drills: str = Field(
        "",
        description="File in which a drill says what is to go wrong; refused where BIND is not loopback",
    )
    _inside_are_networks = field_validator("inside")(networks)

    @model_validator(mode="after")
    def _drills_are_played_at_home(self) -> Self:
        if self.drills and self.bind not in {"127.0.0.1", "::1", "localhost"}:
            raise ValueError(
                "drills are played on loopback only, where nobody else's customers are"
            )
        return self


def serve(factory: str, settings: EdgeSettings) -> None:
    """Run uvicorn with ``factory`` ("module:function"), called once in each worker, until SIGTERM or SIGINT."""
    three_pillars.log_to_stdout()
    uvicorn.run(
        factory,
        factory=True,
        http=BoundedHttpProtocol,
        host=settings.bind,
        port=settings.port,
        workers=settings.workers,
        access_log=False,  # the canonical line says it with the trace id
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
        timeout_keep_alive=15,  # longer than a client keeps a connection (httpx: 5 s), or its next request meets a closing door
    )
