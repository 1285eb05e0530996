"""The resource: the attributes that name the service and the process that sent telemetry."""

import os
from dataclasses import dataclass
from multiprocessing import parent_process

from opentelemetry.sdk.resources import OTELResourceDetector, Resource


@dataclass(frozen=True)
class ServiceResource:
    """The service that installs the library; an empty string leaves its attribute out.

    ``name`` is also the prefix of the request metrics, so it must be a valid beginning of a
    metric name: a letter first, then letters, digits, ``_``, ``.``, ``-`` or ``/``.
    """

    name: str
    """``service.name``."""
    version: str = ""
    """``service.version``."""
    namespace: str = ""
    """``service.namespace``: the group of services that this one belongs to."""
    environment: str = ""
    """``deployment.environment.name``, for example ``production``."""

    def attributes(self) -> dict[str, str]:
        """Return the resource attributes that are given."""
        attributes = {
            "service.name": self.name,
            "service.version": self.version,
            "service.namespace": self.namespace,
            "deployment.environment.name": self.environment,
        }
        return {name: value for name, value in attributes.items() if value}


class _HashedResource(Resource):
    """A resource that is hashed once.

    The encoders ask for the hash with every span and record, and the SDK's own writes the
    attributes as JSON each time.
    """

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource.attributes, resource.schema_url)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


def build_resource(service: ServiceResource) -> Resource:
    """Return the attributes of ``service`` and of the environment, and an instance id.

    OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over the code, as an operator expects;
    ``Resource.create()`` has it the other way round. It adds ``service.instance.id``, a random
    UUID, so that the counters of several processes add up.
    """
    from_environment = dict(OTELResourceDetector().detect().attributes)
    instance = from_environment.get("service.instance.id")
    if instance and parent_process():
        # A worker process inherits the variable: two may not count under one name.
        from_environment["service.instance.id"] = f"{instance}/{os.getpid()}"
    return _HashedResource(Resource.create({**service.attributes(), **from_environment}))
