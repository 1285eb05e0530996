"""``GET /metrics``: the instruments that are exported by OTLP, shown for a Prometheus scrape."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response


def metrics_handler(registry: CollectorRegistry) -> Callable[[Request], Response]:
    """Return the handler of ``GET /metrics``: Prometheus text format, or OpenMetrics on request.

    It shows the metrics of this process only, which ``target_info`` identifies by
    ``service_instance_id``. The sum over all workers is in Prometheus.
    """

    def handle(request: Request) -> Response:
        try:
            encode, content_type = choose_encoder(request.headers.get("accept", ""))
        except (ValueError, TypeError):
            # prometheus-client parses the requested version as numbers. A client that asks for
            # anything else gets the default format.
            encode, content_type = choose_encoder("")
        return Response(encode(registry), headers={"content-type": content_type})

    return handle
