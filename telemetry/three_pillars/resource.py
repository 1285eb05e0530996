"""The OpenTelemetry resource: the attributes that identify the service and its process."""

import os
import re
from dataclasses import dataclass
from multiprocessing import parent_process

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

MAX_NAME_LENGTH = 200
"""The maximum length of a service name, in characters.

OpenTelemetry allows 255 characters for the name of an instrument, and the names of the request
metrics are the service name plus a suffix.
"""

_NAME_PATTERN = re.compile("[A-Za-z][A-Za-z0-9_./-]*")


@dataclass(frozen=True)
class ServiceResource:
    """The resource attributes of the service that installs the library; empty ones are omitted.

    ``name`` is also the prefix of the request metrics, so it must be a valid beginning of the name
    of an OpenTelemetry instrument: a letter first, then letters, digits, ``_``, ``.``, ``-`` or
    ``/``, in total at most ``MAX_NAME_LENGTH`` characters.

    Raises:
        ValueError: ``name`` does not have this form.
    """

    name: str
    """Resource attribute ``service.name``."""
    version: str = ""
    """Resource attribute ``service.version``."""
    namespace: str = ""
    """Resource attribute ``service.namespace``: the group of services that this one belongs to."""
    environment: str = ""
    """Resource attribute ``deployment.environment.name``, for example ``production``."""

    def __post_init__(self) -> None:
        """Check ``name`` now: OpenTelemetry would refuse it only when the metrics are created."""
        if len(self.name) > MAX_NAME_LENGTH or not _NAME_PATTERN.fullmatch(self.name):
            raise ValueError(
                f"service name {self.name!r}: expected a letter, then letters, digits, '_', '.', "
                f"'-' or '/', at most {MAX_NAME_LENGTH} characters"
            )

    def attributes(self) -> dict[str, str]:
        """Return the resource attributes that are not empty, by their OpenTelemetry names."""
        attributes = {
            "service.name": self.name,
            "service.version": self.version,
            "service.namespace": self.namespace,
            "deployment.environment.name": self.environment,
        }
        return {name: value for name, value in attributes.items() if value}


class _HashedResource(Resource):
    """A resource that computes its hash only once.

    The OTLP encoders need the hash for every span and log record, and the ``__hash__`` of the SDK's
    own class encodes all attributes as JSON at each call.
    """

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource.attributes, resource.schema_url)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


def build_resource(service: ServiceResource) -> Resource:
    """Return the resource: the attributes of ``service`` and the environment, and an instance id.

    OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over ``service``, as an operator expects.

    The instance id, ``service.instance.id``, differs between processes, because otherwise the
    counters of several processes would be one series. It is a random UUID, or the value from the
    environment. A child process of ``multiprocessing``, such as a uvicorn worker, inherits the
    environment, so it appends its process id to that value: ``<id>/<pid>``.
    """
    # ``Resource.create()`` alone would prefer the values of ``service``.
    from_environment = dict(OTELResourceDetector().detect().attributes)
    instance = from_environment.get("service.instance.id")
    if instance and parent_process():
        from_environment["service.instance.id"] = f"{instance}/{os.getpid()}"
    return _HashedResource(Resource.create({**service.attributes(), **from_environment}))
