"""A real API server accepts what kubectl makes of both overlays, and refuses mistakes by name."""

import base64
import copy
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.api_server import KUBECTL, ApiServer, render, run_api_server
from tests.kubernetes.manifests import (
    OVERLAYS,
    Manifest,
    containers,
    generated_files,
    literals,
    name_of,
    named,
    pod_spec,
    workloads,
)
from tests.kubernetes.pod_security import violations

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]

every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[Manifest]]:
    """The objects of each overlay, as kubectl renders them."""
    if not KUBECTL.exists():
        pytest.skip("kubectl is not built: `make test-kubernetes` builds it")
    return {overlay: render(overlay) for overlay in OVERLAYS}


@pytest.fixture(scope="module")
def api_server(
    tmp_path_factory: pytest.TempPathFactory, rendered: dict[str, list[Manifest]]
) -> Iterator[ApiServer]:
    """An API server that has the namespace of the overlays, and nothing else of them."""
    with run_api_server(tmp_path_factory.mktemp("api-server")) as server:
        (namespace,) = named("Namespace", rendered["small"]).values()
        # A controller, which does not run here, would make this account.
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": name_of(namespace)},
        }
        server.kubectl("apply", "--server-side", "-f", "-", objects=[namespace, account])
        yield server


@every_overlay
def test_every_object_is_accepted(
    api_server: ApiServer, rendered: dict[str, list[Manifest]], overlay: str
) -> None:
    """The API server would store every object, without a warning, for example of Pod Security."""
    assert api_server.judge(*rendered[overlay]) == ""


def test_what_the_charts_need_is_accepted(api_server: ApiServer) -> None:
    """The API server would store the namespace of the backends, its policies and files."""
    # It does not know the kinds of Strimzi.
    objects = [item for item in render("backends") if "strimzi.io" not in item["apiVersion"]]
    api_server.kubectl(
        "apply", "--server-side", "-f", "-", objects=[*named("Namespace", objects).values()]
    )
    assert api_server.judge(*objects) == ""
    found = {name: item["data"] for name, item in named("ConfigMap", objects).items()}
    for name, files in generated_files("backends").items():
        for key, file in files.items():
            assert key == "alertmanager.yaml" or found[name][key] == file.read_text()
    secret = named("Secret", objects)["alertmanager"]["data"]["alertmanager.yaml"]
    assert base64.b64decode(secret).decode() == Path("config/alertmanager.yml").read_text()


def deployment(objects: list[Manifest], name: str) -> Manifest:
    """Return a copy of the Deployment ``name``, for a test to break."""
    return copy.deepcopy(named("Deployment", objects)[name])


def test_misspelt_field_is_refused_by_name(
    api_server: ApiServer, rendered: dict[str, list[Manifest]]
) -> None:
    """The strict validation names a field that does not exist."""
    broken = deployment(rendered["small"], "web")
    broken["spec"]["replicass"] = broken["spec"].pop("replicas")
    assert "field not declared in schema" in api_server.judge(broken)


def test_negative_number_is_refused_by_name(
    api_server: ApiServer, rendered: dict[str, list[Manifest]]
) -> None:
    """The API server names a field with a number that it does not allow."""
    broken = copy.deepcopy(named("PodDisruptionBudget", rendered["large"])["gateway"])
    broken["spec"]["maxUnavailable"] = -1
    assert "spec.maxUnavailable: Invalid value: -1" in api_server.judge(broken)


def pod(workload: Manifest) -> Manifest:
    """Return a pod of ``workload``, as its controller would make it."""
    spec = copy.deepcopy(pod_spec(workload))
    for claim in workload["spec"].get("volumeClaimTemplates", []):
        name = claim["metadata"]["name"]
        spec.setdefault("volumes", []).append(
            {"name": name, "persistentVolumeClaim": {"claimName": name}}
        )
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{name_of(workload)}-0",
            "namespace": workload["metadata"]["namespace"],
            "labels": workload["spec"]["template"]["metadata"]["labels"],
        },
        "spec": spec,
    }


@every_overlay
def test_pods_are_admitted(
    api_server: ApiServer, rendered: dict[str, list[Manifest]], overlay: str
) -> None:
    """Pod Security, which judges pods and not workloads, admits a pod of each workload."""
    pods = [pod(workload) for workload in workloads(rendered[overlay]).values()]
    assert api_server.judge(*pods) == ""


def test_pod_that_breaks_the_profile_is_refused(
    api_server: ApiServer, rendered: dict[str, list[Manifest]]
) -> None:
    """Pod Security refuses a pod as root, which shows that the namespace enforces the profile."""
    broken = pod(workloads(rendered["small"])["checkout"])
    broken["spec"]["securityContext"]["runAsUser"] = 0
    message = api_server.judge(broken)
    assert 'violates PodSecurity "restricted:latest"' in message
    assert "runAsUser=0" in message


@every_overlay
def test_rendered_pods_pass_the_restricted_profile(
    rendered: dict[str, list[Manifest]], overlay: str
) -> None:
    """Patches and kustomize leave every pod within the profile restricted, read-only as before."""
    for workload in workloads(rendered[overlay]).values():
        assert violations(pod_spec(workload)) == []
        for container in containers(workload):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["resources"]["limits"].keys() == {"cpu", "memory"}


@every_overlay
def test_rendered_files_are_those_of_the_repository(
    rendered: dict[str, list[Manifest]], overlay: str
) -> None:
    """Each ConfigMap has the content of its files, byte for byte, and its variables."""
    objects = named("ConfigMap", rendered[overlay])
    found = {name.rpartition("-")[0]: item["data"] for name, item in objects.items()}
    files = generated_files("base", overlay)
    expected = {
        name: {key: file.read_text() for key, file in paths.items()}
        for name, paths in files.items()
    }
    assert found == expected | literals("base", overlay)


@every_overlay
def test_every_reference_leads_to_an_object(
    rendered: dict[str, list[Manifest]], overlay: str
) -> None:
    """Each ConfigMap that a pod uses exists under its name with the hash."""
    names = named("ConfigMap", rendered[overlay]).keys()
    used = set()
    for workload in workloads(rendered[overlay]).values():
        for volume in pod_spec(workload)["volumes"]:
            used |= {volume["configMap"]["name"]} if "configMap" in volume else set()
        for container in containers(workload):
            used |= {source["configMapRef"]["name"] for source in container.get("envFrom", [])}
    assert used == names


@every_overlay
def test_everything_is_in_the_namespace(rendered: dict[str, list[Manifest]], overlay: str) -> None:
    """All objects are in the one namespace, so that deleting it leaves nothing."""
    (namespace,) = named("Namespace", rendered[overlay])
    assert namespace == "three-pillar-demo"
    for item in rendered[overlay]:
        assert item["kind"] == "Namespace" or item["metadata"]["namespace"] == namespace
