"""Runs the local store as a process: reads the settings, opens the file and serves HTTP."""

import logging
import sqlite3
import sys
from pathlib import Path
from typing import ClassVar

import uvicorn
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from three_pillar_demo.local_store.receiver import create_app
from three_pillar_demo.local_store.store import Store
from three_pillar_demo.local_store.writer import Writer
from three_pillars import ConfigurationError, settings
from three_pillars.http_protocol import BoundedHttpProtocol

FILE_NAME = "telemetry.db"
MIB = 1024**2
LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"
SHUTDOWN_TIMEOUT_S = 4
KEEP_ALIVE_TIMEOUT_S = 15


class Settings(settings.Settings):
    """The store's settings, from the environment variables that begin with ``STORE_``."""

    model_config = SettingsConfigDict(env_prefix="STORE_")
    former_prefix: ClassVar[str] = "EMBEDDED_"

    bind: str = Field("127.0.0.1", min_length=1, description="Address to listen on")
    port: int = Field(4318, ge=1, le=65535, description="Port to listen on, 1 to 65535")
    data: Path = Field(Path(".demo/data/store"), description="Folder of the file")
    size_mib: int = Field(
        512, ge=16, le=1024**2, description="MiB that the file may use, 16 to 1048576"
    )


def main() -> int:
    """Run the local store until SIGTERM or SIGINT, and return the exit code.

    The exit code is 0 after a normal end, 2 if a setting is invalid, and 1 if the file cannot be
    opened.
    """
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format=LOG_FORMAT)
    try:
        settings = Settings.load()
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    path = settings.data / FILE_NAME
    try:
        store = Store(path, settings.size_mib * MIB)
    except (OSError, sqlite3.Error) as error:
        sys.stderr.write(
            f"cannot open {path}: {error}. Check the free disk space and the folder's owner.\n"
        )
        return 1
    uvicorn.run(
        create_app(Writer(store)),
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
