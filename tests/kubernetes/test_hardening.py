"""Every container of the manifests is locked down as in docker-compose.yaml, or more."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes.manifests import (
    Manifest,
    containers,
    literals,
    main_container,
    manifests,
    named,
    patches,
    pod_spec,
    workloads,
)
from tests.kubernetes.manifests import environment as variables_of
from tests.kubernetes.pod_security import violations

WORKLOADS = workloads(manifests("base", "small"))
COMPOSE: dict[str, Any] = yaml.safe_load(Path("docker-compose.yaml").read_text())["services"]
COMPOSE_NAMES = {"agent": "otel-collector", "gateway": "otel-collector"}
"""The service of docker-compose.yaml that a workload corresponds to, if it has another name."""
VARIABLES = literals("base", "small")
MIB = {"Mi": 1, "Gi": 1024, "m": 1, "MiB": 1}


def in_compose(name: str) -> Manifest:
    """Return the service of docker-compose.yaml that corresponds to the workload ``name``."""
    service: Manifest = COMPOSE[COMPOSE_NAMES.get(name, name)]
    return service


def mib(quantity: str) -> int:
    """Return an amount of memory, such as ``512Mi`` or ``512m`` of Compose, in MiB."""
    number = quantity.rstrip("MGiBm")
    return int(number) * MIB[quantity.removeprefix(number)]


every_workload = pytest.mark.parametrize("name", WORKLOADS)


@every_workload
def test_pods_pass_the_restricted_profile(name: str) -> None:
    """No pod breaks a rule of Pod Security's profile restricted."""
    assert violations(pod_spec(WORKLOADS[name])) == []


def set_in(spec: Manifest, *path: str, value: object) -> None:
    """Set a value in the specification of a pod; the first container stands for ``containers``."""
    for part in path[:-1]:
        spec = spec[part][0] if part == "containers" else spec.setdefault(part, {})
    spec[path[-1]] = value


BREAKS: dict[str, Callable[[Manifest], object]] = {
    "hostNetwork": lambda spec: set_in(spec, "hostNetwork", value=True),
    "volume hostPath": lambda spec: set_in(
        spec, "volumes", value=[{"name": "node", "hostPath": {"path": "/"}}]
    ),
    "checkout: privileged": lambda spec: set_in(
        spec, "containers", "securityContext", "privileged", value=True
    ),
    "checkout: allowPrivilegeEscalation": lambda spec: spec["containers"][0]["securityContext"].pop(
        "allowPrivilegeEscalation"
    ),
    "checkout: runAsNonRoot": lambda spec: spec["securityContext"].pop("runAsNonRoot"),
    "checkout: runAsUser": lambda spec: set_in(spec, "securityContext", "runAsUser", value=0),
    "checkout: seccompProfile": lambda spec: spec["securityContext"].pop("seccompProfile"),
    "checkout: capabilities.drop": lambda spec: set_in(
        spec, "containers", "securityContext", "capabilities", value={}
    ),
    "checkout: capabilities.add": lambda spec: set_in(
        spec,
        "containers",
        "securityContext",
        "capabilities",
        value={"drop": ["ALL"], "add": ["CHOWN"]},
    ),
    "checkout: procMount": lambda spec: set_in(
        spec, "containers", "securityContext", "procMount", value="Unmasked"
    ),
    "checkout: hostPort": lambda spec: set_in(
        spec, "containers", "ports", value=[{"containerPort": 80, "hostPort": 80}]
    ),
    "checkout: sysctls": lambda spec: set_in(
        spec, "securityContext", "sysctls", value=[{"name": "net.core.somaxconn", "value": "1"}]
    ),
}


@pytest.mark.parametrize("rule", BREAKS)
def test_each_rule_is_noticed(rule: str) -> None:
    """The check of the profile restricted names the rule that a pod breaks."""
    spec = copy.deepcopy(pod_spec(WORKLOADS["checkout"]))
    BREAKS[rule](spec)
    assert violations(spec) == [rule]


def test_the_namespace_refuses_other_pods() -> None:
    """The API server refuses a pod that breaks the profile restricted."""
    (namespace,) = named("Namespace", manifests("base")).values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@every_workload
def test_file_systems_are_read_only(name: str) -> None:
    """A container writes only to its volumes; configuration is mounted read-only."""
    spec = pod_spec(WORKLOADS[name])
    writable = {volume["name"] for volume in spec["volumes"] if "emptyDir" in volume}
    writable |= {
        claim["metadata"]["name"]
        for claim in WORKLOADS[name]["spec"].get("volumeClaimTemplates", [])
    }
    for container in containers(WORKLOADS[name]):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        for mount in container["volumeMounts"]:
            assert mount.get("readOnly") or mount["name"] in writable


@every_workload
def test_pods_get_no_credentials_and_no_service_links(name: str) -> None:
    """A pod gets no token for the API server, and no variables such as TEMPO_PORT of Services."""
    spec = pod_spec(WORKLOADS[name])
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False


@every_workload
def test_user_is_that_of_compose(name: str) -> None:
    """A pod runs as the user and group of its container in Compose, which owns its data."""
    context = pod_spec(WORKLOADS[name])["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == in_compose(name)["user"]
    if WORKLOADS[name]["spec"].get("volumeClaimTemplates"):
        assert context["fsGroup"] == context["runAsUser"]


@every_workload
def test_limits_are_those_of_compose(name: str) -> None:
    """Limits of memory and CPU, and GOMEMLIMIT, are those with which Compose is tested."""
    container = main_container(WORKLOADS[name])
    service = in_compose(name)
    limits = container["resources"]["limits"]
    assert mib(limits["memory"]) == mib(service["mem_limit"])
    cpu = float(limits["cpu"].removesuffix("m"))
    assert (cpu / 1000 if limits["cpu"].endswith("m") else cpu) == service["cpus"]
    assert variables_of(container, VARIABLES).get("GOMEMLIMIT") == (
        service.get("environment") or {}
    ).get("GOMEMLIMIT")


@every_workload
def test_all_containers_have_requests_and_limits(name: str) -> None:
    """The scheduler knows what each container needs, and no container takes more than its limit."""
    for container in containers(WORKLOADS[name]):
        requests = container["resources"]["requests"]
        limits = container["resources"]["limits"]
        assert requests.keys() == limits.keys() == {"cpu", "memory"}
        assert mib(requests["memory"]) <= mib(limits["memory"])


def test_patches_leave_the_hardening_alone() -> None:
    """A patch of large/ changes resources and spreading only, so that base is what runs."""
    for patch in patches("large"):
        assert patch["spec"].keys() == {"template"}
        assert pod_spec(patch).keys() <= {"containers", "topologySpreadConstraints"}
        assert main_container(patch).keys() == {"name", "resources"}
