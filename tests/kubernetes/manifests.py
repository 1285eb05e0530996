"""The manifests in deploy/kubernetes/, read without kubectl.

Patches and generated ConfigMaps are merged here only as far as the tests need it; what kubectl
makes of them is tested in ``test_api_server.py``.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/kubernetes"
OVERLAYS = ("small", "large")
WORKLOAD_KINDS = ("Deployment", "StatefulSet", "DaemonSet")

Manifest = dict[str, Any]
"""A Kubernetes object, as its YAML has it."""


def kustomization(folder: str) -> Manifest:
    """Return the kustomization of ``folder``: ``base``, ``small``, ``large`` or ``backends``."""
    content: Manifest = yaml.safe_load((FOLDER / folder / "kustomization.yaml").read_text())
    return content


def manifests(*folders: str) -> list[Manifest]:
    """Return all objects that the kustomizations of ``folders`` list, without patches."""
    return [
        manifest
        for folder in folders
        for name in kustomization(folder)["resources"]
        if name.endswith(".yaml")
        for manifest in yaml.safe_load_all((FOLDER / folder / name).read_text())
    ]


def patches(folder: str) -> list[Manifest]:
    """Return the patches that the kustomization of ``folder`` lists."""
    return [
        yaml.safe_load((FOLDER / folder / patch["path"]).read_text())
        for patch in kustomization(folder)["patches"]
    ]


def workloads(objects: list[Manifest]) -> dict[str, Manifest]:
    """Return the Deployments, StatefulSets and DaemonSets among ``objects`` by name."""
    return {name_of(item): item for item in objects if item["kind"] in WORKLOAD_KINDS}


def named(kind: str, objects: list[Manifest]) -> dict[str, Manifest]:
    """Return the objects of ``kind`` among ``objects`` by name."""
    return {name_of(item): item for item in objects if item["kind"] == kind}


def name_of(manifest: Manifest) -> str:
    """Return the name of an object."""
    return str(manifest["metadata"]["name"])


def pod_spec(workload: Manifest) -> Manifest:
    """Return the specification of the pods of ``workload``."""
    spec: Manifest = workload["spec"]["template"]["spec"]
    return spec


def labels(workload: Manifest) -> dict[str, str]:
    """Return the labels of the pods of ``workload``."""
    found: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return found


def containers(workload: Manifest) -> Iterator[Manifest]:
    """Yield all containers of the pods of ``workload``, those that run first included."""
    spec = pod_spec(workload)
    yield from spec.get("initContainers", [])
    yield from spec["containers"]


def main_container(workload: Manifest) -> Manifest:
    """Return the only container that keeps running in the pods of ``workload``."""
    (container,) = pod_spec(workload)["containers"]
    found: Manifest = container
    return found


def generated_files(*folders: str) -> dict[str, dict[str, Path]]:
    """Return the repository's file for each key of each generated ConfigMap or Secret, by name."""
    found: dict[str, dict[str, Path]] = {}
    for folder in folders:
        content = kustomization(folder)
        for generator in content["configMapGenerator"] + content.get("secretGenerator", []):
            for entry in generator.get("files", []):
                key, _, path = entry.rpartition("=")
                file = (FOLDER / folder / path).resolve()
                found.setdefault(generator["name"], {})[key or file.name] = file
    return found


def literals(*folders: str) -> dict[str, dict[str, str]]:
    """Return the variables of each generated ConfigMap by its name; later folders win."""
    found: dict[str, dict[str, str]] = {}
    for folder in folders:
        for generator in kustomization(folder)["configMapGenerator"]:
            pairs = dict(entry.split("=", 1) for entry in generator.get("literals", []))
            found.setdefault(generator["name"], {}).update(pairs)
    return {name: pairs for name, pairs in found.items() if pairs}


def environment(container: Manifest, variables: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return the environment of ``container``; ``variables`` are those of the ConfigMaps.

    A variable that is only known in the cluster, such as the name of the pod, is left out.
    """
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= variables[source["configMapRef"]["name"]]
    return found | {
        variable["name"]: variable["value"]
        for variable in container.get("env", [])
        if "value" in variable
    }


def mounted_files(workload: Manifest, files: dict[str, dict[str, Path]]) -> dict[str, Path]:
    """Return the repository's file for each path that a ConfigMap mounts in ``workload``.

    ``files`` are those of the generated ConfigMaps.
    """
    volumes = {volume["name"]: volume for volume in pod_spec(workload)["volumes"]}
    found: dict[str, Path] = {}
    for mount in main_container(workload)["volumeMounts"]:
        source = volumes.get(mount["name"], {}).get("configMap")
        if source is None:
            continue
        content = files[source["name"]]
        items = source.get("items") or [{"key": key, "path": key} for key in content]
        for item in items:
            found[f"{mount['mountPath']}/{item['path']}"] = content[item["key"]]
    return found
