"""The demo starts on a cluster only if it can run there, and leaves nothing (a stub kubectl)."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import yaml

from tests.private_ports import free_port
from tests.stubs.running import FOLDER
from three_pillar_demo.kubernetes import forwards, run
from three_pillar_demo.kubernetes.cluster import NAMESPACE, OWN_LABEL, ClusterError
from three_pillar_demo.stack import state
from three_pillar_demo.stack.ports import Port

OBJECTS = [
    {"kind": "Namespace", "metadata": {"name": NAMESPACE}},
    {"kind": "Deployment", "metadata": {"name": "checkout"}},
    {"kind": "DaemonSet", "metadata": {"name": "agent"}},
]


class StubCluster:
    """The folder in which the stub of kubectl keeps its cluster.

    Attributes:
        lines: What was reported.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.lines: list[str] = []
        (folder / "objects.yaml").write_text(yaml.safe_dump_all(OBJECTS))

    def has(self, kind: str, content: object) -> None:
        """Let ``kubectl get`` find ``content`` for ``kind``."""
        (self._folder / f"{kind}.json").write_text(json.dumps(content))

    def has_namespace(self, **labels: str) -> None:
        """Let the namespace of the demo exist, with ``labels``."""
        self.has("namespace", {"metadata": {"name": NAMESPACE, "labels": labels}})

    @property
    def commands(self) -> list[str]:
        """The commands that kubectl was called with, without their arguments."""
        calls = self._folder / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        return [line.removeprefix(f"--namespace {NAMESPACE} ").split()[0] for line in lines]

    @property
    def is_unchanged(self) -> bool:
        """Whether no command was called that changes something."""
        return not {"apply", "delete"} & set(self.commands)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StubCluster:
    """A stub of kubectl on PATH, and free ports to forward."""
    monkeypatch.setenv("PATH", f"{FOLDER}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_CLUSTER", str(tmp_path))
    monkeypatch.setattr(run, "POLL_INTERVAL_S", 0.01)
    names = ("web", "grafana", "tempo")
    forwarded = {name: Port(f"TEST_{name}_PORT".upper(), free_port()) for name in names}
    monkeypatch.setattr(forwards, "FORWARDED", forwarded)
    return StubCluster(tmp_path)


def failed() -> bool:
    """Stand in for a verification that fails."""
    return False


def refusal(cluster: StubCluster) -> str:
    """Return why the demo is not started, which is one line; nothing was changed."""
    with pytest.raises(ClusterError) as error:
        run.up(cluster.lines.append, failed)
    assert cluster.is_unchanged
    assert cluster.lines == []
    assert "\n" not in str(error.value)
    return str(error.value)


def test_missing_kubectl_is_refused(
    monkeypatch: pytest.MonkeyPatch, cluster: StubCluster, tmp_path: Path
) -> None:
    """Without kubectl one line says where it is, for both verbs."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refusal(cluster).startswith("kubectl is not on PATH: install it (https://")
    with pytest.raises(ClusterError, match="kubectl is not on PATH"):
        run.down(cluster.lines.append)


def test_cluster_that_does_not_answer_is_refused(
    monkeypatch: pytest.MonkeyPatch, cluster: StubCluster
) -> None:
    """Without a cluster one line has kubectl's reason and a command that starts one."""
    monkeypatch.setenv("FAKE_VERSION", "none")
    message = refusal(cluster)
    assert "localhost:8080 was refused" in message
    assert "`kind create cluster`" in message


def test_old_cluster_is_refused(monkeypatch: pytest.MonkeyPatch, cluster: StubCluster) -> None:
    """A cluster without the preStop hook sleep is refused with both versions."""
    monkeypatch.setenv("FAKE_VERSION", "v1.29.15+k3s1")
    assert refusal(cluster) == "the cluster has Kubernetes v1.29.15+k3s1: update it to 1.30"


def test_foreign_namespace_is_left_alone(cluster: StubCluster) -> None:
    """A namespace of the same name that is not the demo's is neither changed nor removed."""
    cluster.has_namespace(team="payments")
    assert "is not one of this demo" in refusal(cluster)
    with pytest.raises(ClusterError, match="is left alone"):
        run.down(cluster.lines.append)
    assert cluster.is_unchanged


def test_port_in_use_is_refused(cluster: StubCluster) -> None:
    """A local port in use is named, with the Service and the variable that chooses another."""
    port = forwards.local_port("tempo")
    with socket.create_server(("127.0.0.1", port)):
        assert refusal(cluster) == (
            f"port {port} of tempo is in use: stop what listens there, or set TEST_TEMPO_PORT"
        )


def test_running_stack_is_refused(monkeypatch: pytest.MonkeyPatch, cluster: StubCluster) -> None:
    """While a stack runs on this machine, which `demo verify` would find, nothing is started."""
    monkeypatch.setattr(state, "running", lambda: True)
    assert "`demo down`" in refusal(cluster)


def open_ports() -> list[str]:
    """Return the Services whose ports are forwarded."""
    names = list(forwards.FORWARDED)
    return [name for name in names if forwards.accepts_connections(forwards.local_port(name))]


def test_up_applies_waits_and_verifies_through_open_ports(cluster: StubCluster) -> None:
    """All objects are applied and ready, and all ports open, before the verification begins."""
    seen: list[str] = []

    def verify() -> bool:
        seen.extend(open_ports())
        return False

    assert run.up(cluster.lines.append, verify) is False
    assert seen == list(forwards.FORWARDED)
    assert open_ports() == []
    assert [command for command in cluster.commands if command in {"apply", "rollout"}] == [
        "apply",
        "rollout",
        "rollout",
    ]
    assert cluster.lines == [
        "applying deploy/kubernetes/small to the cluster of the context stub",
        "deployment/checkout is ready",
        "daemonset/agent is ready",
        "verifying through forwarded ports",
    ]


def test_failed_verification_is_the_result(cluster: StubCluster) -> None:
    """`make up-kubernetes` fails if the verification fails, and leaves the demo on the cluster."""
    assert run.up(cluster.lines.append, failed) is False
    assert "delete" not in cluster.commands


def test_verification_expects_every_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """`demo verify` looks for every trace, also if variables of tail sampling are set here."""
    monkeypatch.setenv("TAIL_SAMPLING_PERCENTAGE", "10")
    called = Mock(return_value=Mock(returncode=0))
    monkeypatch.setattr(subprocess, "run", called)
    assert run.verify_here() is True
    assert called.call_args.args[0][-1] == "verify"
    assert "PATH" in called.call_args.kwargs["env"]
    assert "TAIL_SAMPLING_PERCENTAGE" not in called.call_args.kwargs["env"]


def test_missing_image_is_named(monkeypatch: pytest.MonkeyPatch, cluster: StubCluster) -> None:
    """If the nodes lack the project's image, the commands that build and load it are named."""
    monkeypatch.setenv("FAKE_FAILS", "rollout")
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
    status = {"containerStatuses": [{"image": "three-pillar-demo:0.1.0", "state": waiting}]}
    cluster.has("pods", {"items": [{"metadata": {"name": "checkout-1"}, "status": status}]})
    with pytest.raises(ClusterError) as error:
        run.up(cluster.lines.append, failed)
    assert str(error.value).startswith("deployment/checkout is not ready: the nodes do not have")
    assert "`kind load docker-image three-pillar-demo:0.1.0`" in str(error.value)


def test_reason_of_a_pod_is_named(monkeypatch: pytest.MonkeyPatch, cluster: StubCluster) -> None:
    """If a pod does not start in time, its reason is named; one that is still starting has none."""
    monkeypatch.setenv("FAKE_FAILS", "rollout")
    monkeypatch.setattr(run, "ROLLOUT_TIMEOUT_S", 0)
    states = [
        {"waiting": {"reason": "PodInitializing"}},
        {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
    ]
    pods = [
        {
            "metadata": {"name": f"pod-{number}"},
            "status": {"containerStatuses": [{"image": "prom/prometheus", "state": state}]},
        }
        for number, state in enumerate(states)
    ]
    cluster.has("pods", {"items": pods})
    with pytest.raises(ClusterError, match=r"is not ready: pod-1: CrashLoopBackOff: back-off 10s$"):
        run.up(cluster.lines.append, failed)
    cluster.has("pods", {"items": pods[:1]})
    with pytest.raises(ClusterError, match="is not ready: see `kubectl --namespace"):
        run.up(cluster.lines.append, failed)


def test_failed_command_has_its_last_line(
    monkeypatch: pytest.MonkeyPatch, cluster: StubCluster
) -> None:
    """An error of kubectl is one line: the command, and the last line that it printed."""
    monkeypatch.setenv("FAKE_FAILS", "kustomize")
    assert refusal(cluster) == "`kubectl kustomize` failed: error: kustomize went wrong"


def test_down_removes_the_namespace_and_waits_for_its_volumes(
    monkeypatch: pytest.MonkeyPatch, cluster: StubCluster
) -> None:
    """The namespace is removed, and a volume that its storage class keeps is named."""
    cluster.has_namespace(**OWN_LABEL)
    volume = {"metadata": {"name": "pv-1"}, "spec": {"claimRef": {"namespace": NAMESPACE}}}
    other = {"metadata": {"name": "pv-2"}, "spec": {"claimRef": {"namespace": "other"}}}
    cluster.has("persistentvolumes", {"items": [volume, other]})
    monkeypatch.setattr(run, "VOLUMES_TIMEOUT_S", 0)
    with pytest.raises(ClusterError, match=r"`kubectl delete persistentvolume pv-1`$"):
        run.down(cluster.lines.append)
    assert cluster.commands.count("delete") == 1
    cluster.has_namespace(**OWN_LABEL)
    cluster.has("persistentvolumes", {"items": [other]})
    run.down(cluster.lines.append)
    assert cluster.lines[-1] == "removed"


def test_down_without_the_demo_changes_nothing(cluster: StubCluster) -> None:
    """Where the demo is not on the cluster, one line says so."""
    run.down(cluster.lines.append)
    assert cluster.lines == ["nothing of the demo is on the cluster of the context stub"]
    assert cluster.is_unchanged


def test_reason_is_one_line_of_the_process(tmp_path: Path) -> None:
    """The process ends with code 1 and one line on stderr where the demo cannot be started."""
    command = [sys.executable, "-m", "three_pillar_demo.kubernetes", "up"]
    environment = {**os.environ, "PATH": str(tmp_path)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("kubectl is not on PATH")
    assert ended.stderr.count("\n") == 1
