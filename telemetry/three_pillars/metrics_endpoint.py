"""``GET /metrics``: the metrics of this process for a scrape by Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response


def metrics_handler(registry: CollectorRegistry) -> Callable[[Request], Response]:
    """Return a request handler that responds with the metrics in ``registry``.

    The format is OpenMetrics if the header ``Accept`` asks for it, otherwise Prometheus's text
    format. The metrics are those of this process only. The metric ``target_info`` identifies the
    process by the label ``service_instance_id``. Sums over all worker processes are left to
    Prometheus.
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
