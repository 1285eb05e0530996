"""The edge of a process: settings from the environment, and uvicorn."""

import os
import sys
from typing import Self

import uvicorn
from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

import telemetry
from telemetry.settings import shown

STOP_SECONDS = 4
"""How long a stopping service waits for requests under way; the slowest takes checkout's own limit of 2 s by default."""


class EdgeSettings(BaseSettings):
    """What every service has; a service adds its own fields and its prefix."""

    model_config = SettingsConfigDict(frozen=True)

    bind: str = Field("127.0.0.1", min_length=1, description="Address to listen on")
    port: int = Field(ge=1, le=65535)
    workers: int = Field(1, ge=1, le=64, description="uvicorn worker processes, 1 to 64")
    drills: str = Field("", description="File in which a drill says what is to go wrong; refused where BIND is not loopback")

    @model_validator(mode="before")
    @classmethod
    def _blank_is_unset(cls, values: dict[str, object]) -> dict[str, object]:
        return {name: value for name, value in values.items() if str(value).strip()}

    @model_validator(mode="after")
    def _drills_are_played_at_home(self) -> Self:
        if self.drills and self.bind not in {"127.0.0.1", "::1", "localhost"}:
            raise ValueError("drills are played on loopback only, where nobody else's customers are")
        return self

    @classmethod
    def load(cls) -> Self:
        """Read the environment; a bad value ends the process, naming the variable, the value and what is allowed."""
        try:
            return cls()
        except ValidationError as error:
            prefix = cls.model_config.get("env_prefix", "")
            for problem in error.errors():
                field = str(problem["loc"][0]) if problem["loc"] else ""
                # A problem between two fields belongs to none: show all that were set.
                names = [prefix + field.upper()] if field else [each for each in os.environ if each.startswith(prefix)]
                values = " ".join(f"{name}={shown(os.environ.get(name, ''))}" for name in names)
                hint = f" ({cls.model_fields[field].description})" if field in cls.model_fields else ""
                sys.stderr.write(f"{values}: {problem['msg']}{hint}\n")
            sys.exit(2)


def serve(factory: str, settings: EdgeSettings) -> None:
    """Run uvicorn with ``factory`` ("module:function"), called once in each worker, until SIGTERM or SIGINT."""
    telemetry.log_to_stdout()
    uvicorn.run(
        factory,
        factory=True,
        host=settings.bind,
        port=settings.port,
        workers=settings.workers,
        access_log=False,  # the canonical line says it with the trace id
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
        timeout_keep_alive=15,  # longer than a client keeps a connection (httpx: 5 s), or its next request meets a closing door
    )
