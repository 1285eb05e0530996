"""The process of the local store: reads the settings, opens the file, serves HTTP and gRPC."""

import asyncio
import logging
import os
import socket
import sqlite3
import sys
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

import uvicorn
from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict
from uvicorn.loops.auto import auto_loop_factory

from three_pillar_demo.local_store import grpc_receiver
from three_pillar_demo.local_store.cors import LOOPBACK, parse_origins
from three_pillar_demo.local_store.intake import Intake
from three_pillar_demo.local_store.receiver import create_app
from three_pillar_demo.local_store.store import Store
from three_pillar_demo.local_store.writer import Writer
from three_pillars import ConfigurationError, settings
from three_pillars.http_protocol import BoundedHttpProtocol

log = logging.getLogger("local_store")

FILE_NAME = "telemetry.db"
MIB = 1024**2
LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"
SHUTDOWN_TIMEOUT_S = 4
"""How long requests in flight may go on after SIGTERM, in seconds."""
GRPC_SHUTDOWN_TIMEOUT_S = 4
"""How long gRPC calls in flight may go on after those of HTTP have ended, in seconds."""
KEEP_ALIVE_TIMEOUT_S = 15


class Settings(settings.Settings):
    """The store's settings, from the environment variables that begin with ``STORE_``."""

    model_config = SettingsConfigDict(env_prefix="STORE_")
    former_prefix: ClassVar[str] = "EMBEDDED_"

    bind: str = Field("127.0.0.1", min_length=1, description="Address to listen on")
    port: int = Field(4318, ge=1, le=65535, description="Port for OTLP over HTTP, 1 to 65535")
    grpc_port: int = Field(4317, ge=1, le=65535, description="Port for OTLP over gRPC, 1 to 65535")
    cors_origins: str = Field(
        LOOPBACK,
        max_length=1000,
        description=(
            "Origins whose web pages may send, comma-separated, like https://shop.test:8443;"
            " loopback for any port of this machine, * for all, or none"
        ),
    )
    data: Path = Field(Path(".demo/data/store"), description="Folder of the file")
    size_mib: int = Field(
        512, ge=16, le=1024**2, description="MiB that the file may use, 16 to 1048576"
    )

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_origins(cls, cors_origins: str) -> str:
        parse_origins(cors_origins)
        return cors_origins

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if self.grpc_port == self.port:
            raise ValueError(
                f"{self.variable('port')} and {self.variable('grpc_port')} are the same"
            )
        return self


def main() -> int:
    """Run the local store until SIGTERM or SIGINT, and return the exit code.

    The exit code is 0 after SIGINT, which Ctrl-C sends, 2 if a setting is invalid, and 1 if the
    file cannot be opened or a port is not free. SIGTERM ends the process after the shutdown, as it
    ends a process that does not catch it: uvicorn raises the signal again.
    """
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format=LOG_FORMAT)
    try:
        settings = Settings.load()
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for name in ("port", "grpc_port"):
        port = getattr(settings, name)
        reason = _port_problem(settings.bind, port)
        if reason:
            sys.stderr.write(
                f"cannot listen on {settings.bind}:{port}: {reason}."
                f" Stop what listens there, or set {settings.variable(name)} to another port.\n"
            )
            return 1
    path = settings.data / FILE_NAME
    try:
        store = Store(path, settings.size_mib * MIB)
    except (OSError, sqlite3.Error) as error:
        sys.stderr.write(
            f"cannot open {path}: {error}. Check the free disk space and the folder's owner.\n"
        )
        return 1
    # uvicorn.run would choose the event loop in the same way; it cannot run gRPC as well.
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        try:
            return runner.run(_serve(settings, Intake(Writer(store))))
        except KeyboardInterrupt:  # uvicorn raises SIGINT again, too, after the shutdown
            return 0


def _port_problem(host: str, port: int) -> str:
    """Return why this process cannot listen on ``port``; an empty string if it can.

    uvicorn and gRPC would write several lines each, and gRPC does not tell the reason.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    return ""


async def _serve(settings: Settings, intake: Intake) -> int:
    """Serve gRPC and HTTP until a signal arrives, and return the exit code.

    gRPC listens before HTTP, so that ``/healthz`` answers only when both do.
    """
    grpc_server = grpc_receiver.create_server(intake, settings.bind, settings.grpc_port)
    await grpc_server.start()
    log.info("OTLP over gRPC on %s:%d", settings.bind, settings.grpc_port)
    config = uvicorn.Config(
        create_app(
            intake, settings.cors_origins, partial(grpc_server.stop, GRPC_SHUTDOWN_TIMEOUT_S)
        ),
        http=BoundedHttpProtocol,
        ws="none",
        host=settings.bind,
        port=settings.port,
        workers=1,  # uvicorn would read WEB_CONCURRENCY, and end
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
        timeout_keep_alive=KEEP_ALIVE_TIMEOUT_S,
    )
    # The lifespan of the application stops the gRPC server, because uvicorn raises the signal
    # again before this method returns.
    await uvicorn.Server(config).serve()
    return 0
