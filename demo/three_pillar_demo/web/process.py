"""The process of the web UI: reads its settings and runs the HTTP server."""

import logging
import sys
from typing import ClassVar

import uvicorn
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from three_pillar_demo.query import connect
from three_pillar_demo.sampling_settings import SamplingSettings
from three_pillar_demo.stack import ports
from three_pillar_demo.web.app import create_app
from three_pillars import ConfigurationError, settings
from three_pillars.http_protocol import MAX_IDLE_CONNECTIONS, BoundedHttpProtocol

LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"
MAX_REQUESTS = 200
"""The number of requests at the same time; the server answers further ones with 503.

uvicorn counts connections, so those without a request are added to its limit.
"""
SHUTDOWN_TIMEOUT_S = 2
"""How long requests in flight may go on after SIGTERM, in seconds."""
KEEP_ALIVE_TIMEOUT_S = 15
"""How long an idle connection stays open, in seconds."""


class Settings(settings.Settings):
    """The settings of the web UI, read from environment variables that begin with ``WEB_``."""

    model_config = SettingsConfigDict(env_prefix="WEB_")
    former_prefix: ClassVar[str] = "CONSOLE_"

    bind: str = Field("127.0.0.1", min_length=1, description="Address to listen on")
    port: int = Field(
        ports.WEB.default, ge=1, le=65535, description="Port to listen on, 1 to 65535"
    )
    hosts: str = Field(
        "",
        max_length=1000,
        description="Further names, like page.test:8080, or page.test:8080/alerts; a name may be "
        "that of a proxy with TLS",
    )
    grafana_url: str = Field(
        f"http://127.0.0.1:{ports.GRAFANA.default}",
        pattern=r"^https?://[^\s/?#]+$",
        description="Grafana, for a browser",
    )

    def names(self) -> set[str]:
        """Return the accepted names, in the form that ``AccessMiddleware`` expects.

        They are the loopback names with the port, and those of ``WEB_HOSTS``, also by TLS.
        """
        loopback_names = {f"{host}:{self.port}" for host in ("localhost", "127.0.0.1", "[::1]")}
        further_names = {name.strip() for name in self.hosts.lower().split(",")}
        further_names.discard("")
        tls_names = {f"https://{name}" for name in further_names if "/" not in name}
        return loopback_names | further_names | tls_names


def main() -> int:
    """Run the server until SIGTERM or SIGINT.

    Return the exit code: 0, or 2 when an environment variable is invalid.
    """
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format=LOG_FORMAT)
    # The HTTP client would log every purchase and every health check.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    try:
        settings = Settings.load()
        SamplingSettings.load()  # Refuses what connect.samples_traces() could not read.
        ports.validate()
    except (ConfigurationError, ports.PortError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    uvicorn.run(
        create_app(
            connect.create_backends(),
            connect.running_mode(),
            settings.names(),
            settings.grafana_url,
        ),
        http=BoundedHttpProtocol,
        ws="none",
        host=settings.bind,
        port=settings.port,
        workers=1,  # uvicorn would read WEB_CONCURRENCY, and end
        access_log=False,
        log_config=None,
        server_header=False,
        limit_concurrency=MAX_REQUESTS + MAX_IDLE_CONNECTIONS,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
        timeout_keep_alive=KEEP_ALIVE_TIMEOUT_S,
    )
    return 0
