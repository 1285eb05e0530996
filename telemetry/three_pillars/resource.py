"""The OpenTelemetry resource: the attributes that identify the service and its process."""

import os
import re
import sys
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

MAX_NAME_LENGTH = 200
"""The maximum length of a service name, in characters.

OpenTelemetry allows 255 characters for the name of an instrument, and the names of the request
metrics are the service name plus a suffix.
"""

INSTANCE_ID = "service.instance.id"

FLAGS_FIELD = 6
"""Index of the kernel's flags of a process among the fields of ``/proc/self/stat``.

Field 0 is the one after the name of the program, which is in parentheses (proc_pid_stat(5)).
"""

FORKED_WITHOUT_EXEC = 0x40
"""The flag ``PF_FORKNOEXEC`` of the kernel (``include/linux/sched.h``)."""

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


class _ProcessResource(Resource):
    """A resource whose instance id differs in each process, and that computes its hash only once.

    The OTLP encoders need the hash for every span and log record, and the ``__hash__`` of the SDK's
    own class encodes all attributes as JSON at each call.
    """

    def __init__(self, resource: Resource, fixed_instance_id: str, created_in: int) -> None:
        """Copy ``resource``.

        ``fixed_instance_id`` is the instance id from the environment, or empty. ``created_in`` is
        the process id of the process that called ``build_resource``.
        """
        super().__init__(resource.attributes, resource.schema_url)
        self._fixed_instance_id = fixed_instance_id
        self._created_in = created_in
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash

    def merge(self, other: Resource) -> "_ProcessResource":
        """Return this resource with the attributes of ``other``, and with its own instance id.

        After ``os.fork()`` the SDK calls this in the child process with the attributes that depend
        on the process. Among them is a random instance id, which would replace the one from the
        environment.
        """
        merged = super().merge(other)
        if self._fixed_instance_id:
            forked = os.getpid() != self._created_in
            instance_id = _instance_id(self._fixed_instance_id, is_one_of_several=forked)
            merged = merged.merge(Resource({INSTANCE_ID: instance_id}))
        return _ProcessResource(merged, self._fixed_instance_id, self._created_in)


def build_resource(service: ServiceResource) -> Resource:
    """Return the resource: the attributes of ``service`` and the environment, and an instance id.

    OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over ``service``, as an operator expects.

    The instance id, ``service.instance.id``, differs between processes, because otherwise the
    counters of several processes would be one series. It is a random UUID, or the value from the
    environment. The worker processes of a server inherit the environment, so each of them appends
    its process id to that value: ``<id>/<pid>``. A worker process is a child of
    ``multiprocessing`` or a process that was forked, before or after this call.
    """
    # ``Resource.create()`` alone would prefer the values of ``service``.
    from_environment = dict(OTELResourceDetector().detect().attributes)
    fixed_instance_id = str(from_environment.get(INSTANCE_ID, ""))
    if fixed_instance_id:
        from_environment[INSTANCE_ID] = _instance_id(fixed_instance_id)
    resource = Resource.create({**service.attributes(), **from_environment})
    return _ProcessResource(resource, fixed_instance_id, os.getpid())


def _instance_id(fixed: str, *, is_one_of_several: bool = False) -> str:
    """Return ``fixed``; in a worker process, or if ``is_one_of_several``, with the process id."""
    if is_one_of_several or parent_process() or _was_forked():
        return f"{fixed}/{os.getpid()}"
    return fixed


def _was_forked() -> bool:
    """Return whether another process forked this one, and did not then start a program in it.

    Linux keeps this as a flag of the process: gunicorn, uWSGI and other servers fork their workers,
    without a mark that a worker could see. Where there is no flag, only gunicorn is recognised.
    """
    if "gunicorn.arbiter" in sys.modules:
        return True
    try:
        stat = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    fields_after_name = stat.rpartition(")")[2].split()
    return bool(int(fields_after_name[FLAGS_FIELD]) & FORKED_WITHOUT_EXEC)
