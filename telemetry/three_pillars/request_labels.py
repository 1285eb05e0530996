"""The labels of the request metrics, from the properties of a finished request."""

from typing import NamedTuple


class RequestLabels(NamedTuple):
    """The properties of a finished request from which the labels of its metrics are derived.

    Attributes:
        method: A known HTTP method, or ``_OTHER``.
        route: The route template; None if no route matched.
        scheme: ``http`` or ``https``.
        protocol_version: The version of HTTP, like ``1.1``.
        status: The status that is recorded.
        error_type: The value of ``error.type``; None if the request did not fail.
    """

    method: str
    route: str | None
    scheme: str
    protocol_version: str
    status: int
    error_type: str | None

    @property
    def endpoint(self) -> str:
        """The route template, or ``unmatched``."""
        return self.route or "unmatched"

    def of_counter(self) -> dict[str, str]:
        """Return the labels of ``<prefix>.requests``."""
        return {"method": self.method, "endpoint": self.endpoint, "status": str(self.status)}

    def of_latency(self) -> dict[str, str]:
        """Return the labels of ``<prefix>.request.latency``."""
        return {"endpoint": self.endpoint}

    def of_standard_duration(self) -> dict[str, str | int]:
        """Return the attributes of ``http.server.request.duration``.

        The HTTP semantic conventions define them.
        """
        attributes: dict[str, str | int] = {
            "http.request.method": self.method,
            "url.scheme": self.scheme,
            "network.protocol.version": self.protocol_version,
            "http.response.status_code": self.status,
        }
        if self.route:
            attributes["http.route"] = self.route
        if self.error_type:
            attributes["error.type"] = self.error_type
        return attributes
