"""The profile ``restricted`` of the Pod Security Standards, for tests without an API server.

https://kubernetes.io/docs/concepts/security/pod-security-standards/ lists the rules.
"""

from collections.abc import Iterator
from typing import Any

ALLOWED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
HOST_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")


def violations(spec: dict[str, Any]) -> list[str]:
    """Return the rules that the pods of the specification ``spec`` break; empty if none."""
    found = [name for name in HOST_NAMESPACES if spec.get(name)]
    for volume in spec.get("volumes", []):
        found += [f"volume {kind}" for kind in volume.keys() - {"name"} - ALLOWED_VOLUMES]
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        context = spec.get("securityContext", {}) | container.get("securityContext", {})
        found += [f"{container['name']}: {rule}" for rule in _broken_by(container, context)]
    return found


def _broken_by(container: dict[str, Any], context: dict[str, Any]) -> Iterator[str]:
    capabilities = context.get("capabilities", {})
    required = {
        "privileged": not context.get("privileged"),
        "allowPrivilegeEscalation": context.get("allowPrivilegeEscalation") is False,
        "runAsNonRoot": context.get("runAsNonRoot") is True,
        "runAsUser": context.get("runAsUser") != 0,
        "seccompProfile": context.get("seccompProfile", {}).get("type")
        in {"RuntimeDefault", "Localhost"},
        "capabilities.drop": "ALL" in capabilities.get("drop", []),
        "capabilities.add": set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
        "procMount": "procMount" not in context,
        "hostPort": not any(port.get("hostPort") for port in container.get("ports", [])),
        "sysctls": "sysctls" not in context,
    }
    yield from (rule for rule, is_kept in required.items() if not is_kept)
