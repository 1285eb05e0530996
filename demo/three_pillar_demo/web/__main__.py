"""The edge of the page: reads settings, starts uvicorn."""

import logging
import sys

import uvicorn
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from three_pillar_demo.query import connect
from three_pillar_demo.web.app import create_app
from three_pillars import settings


class Settings(settings.Settings):
    """The page's settings: ``WEB_PORT``, ``WEB_HOSTS`` and so on."""

    model_config = SettingsConfigDict(env_prefix="WEB_")

    bind: str = Field("127.0.0.1", min_length=1, description="Address to listen on")
    port: int = Field(8080, ge=1, le=65535, description="Port to listen on, 1 to 65535")
    hosts: str = Field(
        "",
        max_length=1000,
        description="Further names, like page.test:8080, or page.test:8080/alerts",
    )
    grafana_url: str = Field(
        "http://127.0.0.1:3000",
        pattern=r"^https?://[^\s/?#]+$",
        description="Grafana, for a browser",
    )

    def names(self) -> set[str]:
        """The names, with their ports, by which this page may be asked."""
        others = {name.strip() for name in self.hosts.lower().split(",")} - {""}
        return others | {f"{name}:{self.port}" for name in ("localhost", "127.0.0.1", "[::1]")}


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    logging.basicConfig(
        stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("httpx2").setLevel(
        logging.WARNING
    )  # it would tell of every purchase and every look at a component
    settings = Settings.load()
    uvicorn.run(
        create_app(connect.backends(), connect.mode(), settings.names(), settings.grafana_url),
        host=settings.bind,
        port=settings.port,
        access_log=False,
        log_config=None,
        server_header=False,
        limit_concurrency=200,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=15,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
