"""Start the demo on the cluster and verify it there, and remove it again."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from three_pillar_demo.kubernetes.cluster import (
    NAMESPACE,
    Cluster,
    ClusterError,
    render,
)
from three_pillar_demo.kubernetes.forwards import check_ports, forwarded, local_port
from three_pillar_demo.paths import ROOT
from three_pillar_demo.stack import state

OVERLAY = ROOT / "deploy" / "kubernetes" / "small"
WORKLOAD_KINDS = {"Deployment", "StatefulSet", "DaemonSet"}
ROLLOUT_TIMEOUT_S = 600
"""Seconds until all pods are ready; the first start pulls the images."""
ROLLOUT_STEP_S = 5
"""Seconds after which it is looked whether a pod cannot start."""
DELETE_TIMEOUT_S = 300
"""Seconds until the namespace is gone. A gateway takes a minute to stop."""
VOLUMES_TIMEOUT_S = 60
POLL_INTERVAL_S = 1.0
SAMPLING = "TAIL_SAMPLING_"
"""The beginning of the variables of tail sampling, which `demo verify` reads too."""
IMAGE = "three-pillar-demo:0.1.0"
NO_IMAGE = "the nodes do not have the image"
IMAGE_ERRORS = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"}
STARTING = {"ContainerCreating", "PodInitializing"}

Report = Callable[[str], None]
"""A function that prints one line."""


def up(report: Report, verify: Callable[[], bool]) -> bool:
    """Apply the small overlay, wait until it is ready, forward its ports and call ``verify``.

    If ``verify`` returns True, the ports stay forwarded until Ctrl-C.

    Returns:
        What ``verify`` returned.

    Raises:
        ClusterError: The demo cannot run there. Before the first line with "applying" nothing has
            been changed on the cluster.
    """
    cluster = Cluster()
    context = cluster.check()
    if state.running():
        raise ClusterError("a stack runs on this machine too: stop it with `demo down`")
    check_ports()
    cluster.has_demo()
    objects = render(cluster, OVERLAY)
    report(f"applying deploy/kubernetes/small to the cluster of the context {context}")
    cluster.output("apply", "--server-side", "--filename=-", text=objects)
    _wait_for_rollout(cluster, list(yaml.safe_load_all(objects)), report)
    with forwarded(cluster) as processes:
        report("verifying through forwarded ports")
        if not verify():
            return False
        report(f"web UI http://127.0.0.1:{local_port('web')}")
        report(f"Grafana http://127.0.0.1:{local_port('grafana')}")
        report("Ctrl-C ends the forwarding; `make down-kubernetes` removes the demo")
        _wait_for_ctrl_c(processes)
    return True


def _wait_for_rollout(cluster: Cluster, objects: list[dict[str, Any]], report: Report) -> None:
    deadline = time.monotonic() + ROLLOUT_TIMEOUT_S
    for item in objects:
        if item["kind"] in WORKLOAD_KINDS:
            name = f"{item['kind'].lower()}/{item['metadata']['name']}"
            _wait_for_workload(cluster, name, deadline)
            report(f"{name} is ready")


def _wait_for_workload(cluster: Cluster, name: str, deadline: float) -> None:
    command = ("--namespace", NAMESPACE, "rollout", "status", name)
    while cluster.run(*command, f"--timeout={ROLLOUT_STEP_S}s").returncode:
        pods = cluster.objects("pods", "--namespace", NAMESPACE)
        reasons = [reason for pod in pods for reason in _reasons(pod)]
        lacks_image = [reason for reason in reasons if reason.startswith(NO_IMAGE)]
        if lacks_image or time.monotonic() > deadline:
            reasons = lacks_image + reasons
            reasons.append(f"see `kubectl --namespace {NAMESPACE} get events`")
            raise ClusterError(f"{name} is not ready: {reasons[0]}")
        time.sleep(POLL_INTERVAL_S)


def _reasons(pod: dict[str, Any]) -> Iterator[str]:
    """Yield why ``pod`` does not start; for the project's own image, with what to do."""
    name = pod["metadata"]["name"]
    status = pod["status"]
    for condition in status.get("conditions", []):
        if condition.get("reason") == "Unschedulable":
            yield f"{name}: {condition.get('message', '')}"
    for container in [
        *status.get("initContainerStatuses", []),
        *status.get("containerStatuses", []),
    ]:
        waiting = container["state"].get("waiting", {})
        reason = str(waiting.get("reason", ""))
        if reason in IMAGE_ERRORS and IMAGE in container["image"]:
            yield (
                f"{NO_IMAGE} {container['image']}: build it with `docker build --tag {IMAGE} .`, "
                f"and load it, for example with `kind load docker-image {IMAGE}`"
            )
        elif reason and reason not in STARTING:
            yield f"{name}: {reason}: {waiting.get('message', '')}"


def _wait_for_ctrl_c(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    try:
        while True:
            for name, process in processes.items():
                if process.poll() is not None:
                    raise ClusterError(f"the port of {name} is no longer forwarded: see above")
            time.sleep(POLL_INTERVAL_S)
    except KeyboardInterrupt:
        return


def verify_here() -> bool:
    """Return whether `demo verify`, through the forwarded ports, succeeds.

    The small overlay keeps every trace, whatever the variables of this process say.
    """
    command = [sys.executable, "-m", "three_pillar_demo", "verify"]
    variables = {name: value for name, value in os.environ.items() if not name.startswith(SAMPLING)}
    ended = subprocess.run(command, env=variables, check=False)  # noqa: S603  (our own program)
    return ended.returncode == 0


def down(report: Report) -> None:
    """Remove the namespace of the demo with everything in it, and wait until its volumes are gone.

    Raises:
        ClusterError: The cluster does not answer, or something is left.
    """
    cluster = Cluster()
    context = cluster.check()
    if not cluster.has_demo():
        report(f"nothing of the demo is on the cluster of the context {context}")
        return
    report(f"removing the namespace {NAMESPACE}, which takes a minute")
    cluster.output(
        "delete",
        "namespace",
        NAMESPACE,
        f"--timeout={DELETE_TIMEOUT_S}s",
        seconds=DELETE_TIMEOUT_S + 30,
    )
    deadline = time.monotonic() + VOLUMES_TIMEOUT_S
    while volumes := _volumes(cluster):
        if time.monotonic() > deadline:
            raise ClusterError(
                f"volumes are left, because their storage class keeps them: remove them with "
                f"`kubectl delete persistentvolume {' '.join(volumes)}`"
            )
        time.sleep(POLL_INTERVAL_S)
    report("removed")


def _volumes(cluster: Cluster) -> list[str]:
    """Return the names of the volumes that belong to the namespace."""
    return [
        volume["metadata"]["name"]
        for volume in cluster.objects("persistentvolumes")
        if volume["spec"].get("claimRef", {}).get("namespace") == NAMESPACE
    ]
