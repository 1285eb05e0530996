"""The OpenTelemetry resource: the attributes that identify the service and its process."""

import os
from dataclasses import dataclass
from multiprocessing import parent_process

from opentelemetry.sdk.resources import OTELResourceDetector, Resource


@dataclass(frozen=True)
class ServiceResource:
    """The resource attributes of the service that installs the library; empty ones are left out.

    ``name`` is also the prefix of the request metrics, so it must be a valid beginning of a
    metric name: a letter first, then letters, digits, ``_``, ``.``, ``-`` or ``/``.
    """

    name: str
    """Resource attribute ``service.name``."""
    version: str = ""
    """Resource attribute ``service.version``."""
    namespace: str = ""
    """Resource attribute ``service.namespace``: the group of services that this one belongs to."""
    environment: str = ""
    """Resource attribute ``deployment.environment.name``, for example ``production``."""

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

    The OTLP encoders need the hash for every span and log record, and the SDK's own method encodes
    all attributes as JSON each time.
    """

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource.attributes, resource.schema_url)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


def build_resource(service: ServiceResource) -> Resource:
    """Return a resource with the attributes of ``service``, those of the environment, and an id.

    OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over ``service``, as an operator expects;
    ``Resource.create()`` alone would prefer the code. The id is ``service.instance.id``: without
    one in the environment it is a random UUID, so that the counters of several processes add up.
    In a worker process the id of the environment gets the process id as a suffix.
    """
    from_environment = dict(OTELResourceDetector().detect().attributes)
    instance = from_environment.get("service.instance.id")
    if instance and parent_process():
        # A worker process inherits the variable: two may not count under one name.
        from_environment["service.instance.id"] = f"{instance}/{os.getpid()}"
    return _HashedResource(Resource.create({**service.attributes(), **from_environment}))
