"""The edge of embedded: reads settings, opens the file, starts uvicorn."""

import logging
import sqlite3
import sys
from pathlib import Path

import uvicorn
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from three_pillar_demo.local_store.receiver import create_app
from three_pillar_demo.local_store.store import Store
from three_pillar_demo.local_store.writer import Writer
from three_pillars import settings

FILE = "telemetry.db"
MIB = 1024**2


class Settings(settings.Settings):
    """Embedded's settings: ``STORE_DATA``, ``STORE_SIZE_MIB`` and so on."""

    model_config = SettingsConfigDict(env_prefix="STORE_")

    bind: str = Field("127.0.0.1", min_length=1, description="Address to listen on")
    port: int = Field(4318, ge=1, le=65535, description="Port to listen on, 1 to 65535")
    data: Path = Field(Path(".demo/data/store"), description="Folder of the file")
    size_mib: int = Field(
        512, ge=16, le=1024**2, description="MiB that the file may use, 16 to 1048576"
    )


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    settings = Settings.load()
    try:
        writer = Writer(Store(settings.data / FILE, settings.size_mib * MIB))
    except (OSError, sqlite3.Error) as error:
        sys.stderr.write(
            f"{settings.data / FILE} cannot be opened: {error}. Is the disk full, or the folder somebody else's?\n"
        )
        return 1
    uvicorn.run(
        create_app(writer),
        host=settings.bind,
        port=settings.port,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=4,
        timeout_keep_alive=15,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
