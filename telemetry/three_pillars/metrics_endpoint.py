"""``GET /metrics``: the same instruments that leave by OTLP, for whoever scrapes."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response


def exposition(registry: CollectorRegistry) -> Callable[[Request], Response]:
    """Build ``GET /metrics``, in the Prometheus text format, or OpenMetrics when asked for.

    It shows this one process, whose ``service_instance_id`` is in ``target_info``; the sum over workers is in Prometheus.
    """

    def answer(request: Request) -> Response:
        try:
            encode, content_type = choose_encoder(request.headers.get("accept", ""))
        except (
            ValueError,
            TypeError,
        ):  # it reads a version as numbers; whoever asks for another gets the plain format
            encode, content_type = choose_encoder("")
        return Response(encode(registry), headers={"content-type": content_type})

    return answer
