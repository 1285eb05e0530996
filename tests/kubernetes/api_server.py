"""A real Kubernetes API server with etcd, without nodes: it judges manifests, and runs no pods."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from native.build import TEST_TOOLS
from tests.kubernetes.manifests import FOLDER, Manifest
from tests.private_ports import free_port
from tests.processes import wait_for

ETCD = TEST_TOOLS["etcd"].folder() / "etcd"
API_SERVER = TEST_TOOLS["kubernetes"].folder() / "kube-apiserver"
KUBECTL = TEST_TOOLS["kubernetes"].folder() / "kubectl"
TOKEN = "token-of-the-test"  # noqa: S105  (of a server that lives as long as the test)
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 20
COMMAND_TIMEOUT_S = 60


class ApiServer:
    """A running API server, and kubectl for it."""

    def __init__(self, folder: Path, port: int) -> None:
        """Write the configuration of kubectl to ``folder`` for the API server at ``port``."""
        self._kubeconfig = folder / "kubeconfig"
        self._cache = folder / "cache"
        # The server signs its certificate itself.
        cluster = {
            "server": f"https://127.0.0.1:{port}",
            "insecure-skip-tls-verify": True,
        }
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": TOKEN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        self._kubeconfig.write_text(yaml.safe_dump(content))

    def kubectl(
        self, *arguments: str, objects: list[Manifest] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl with ``arguments``, and with ``objects`` on its standard input."""
        completed = subprocess.run(
            [KUBECTL, f"--cache-dir={self._cache}", *arguments],
            env={**os.environ, "KUBECONFIG": str(self._kubeconfig)},
            input=yaml.safe_dump_all(objects or []),
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if check:
            assert completed.returncode == 0, completed.stderr
        return completed

    def judge(self, *objects: Manifest) -> str:
        """Return what the API server says against ``objects``; empty if it would store them all.

        Nothing is stored. A warning counts too.
        """
        command = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
        return self.kubectl(*command, objects=list(objects), check=False).stderr

    def is_ready(self) -> bool:
        """Return whether the API server answers, and is ready."""
        return self.kubectl("get", "--raw", "/readyz", check=False).stdout == "ok"


def render(overlay: str) -> list[Manifest]:
    """Return the objects of an overlay as kubectl renders them.

    Raises:
        AssertionError: kubectl refuses the overlay, or warns of it.
    """
    command = [str(KUBECTL), "kustomize", "--load-restrictor", "LoadRestrictionsNone"]
    command.append(str(FOLDER / overlay))
    completed = subprocess.run(
        command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
    )
    assert (completed.returncode, completed.stderr) == (0, ""), completed.stderr
    objects: list[Any] = list(yaml.safe_load_all(completed.stdout))
    return objects


@contextmanager
def run_api_server(folder: Path) -> Iterator[ApiServer]:
    """Run etcd and an API server until the end of the block; their files are in ``folder``."""
    etcd_port = free_port()
    etcd_url = f"http://127.0.0.1:{etcd_port}"
    peer_url = f"http://127.0.0.1:{free_port()}"
    port = free_port()
    certificates = folder / "certificates"
    tokens = folder / "tokens.csv"
    tokens.write_text(f"{TOKEN},test,test,system:masters\n")
    etcd = [
        str(ETCD),
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={etcd_url}",
        f"--advertise-client-urls={etcd_url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=default={peer_url}",
        "--unsafe-no-fsync",
        "--logger=zap",
    ]
    api_server = [
        str(API_SERVER),
        f"--etcd-servers={etcd_url}",
        "--bind-address=127.0.0.1",
        # The address that it gives to others, of which there are none.
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={certificates}",
        f"--token-auth-file={tokens}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--service-account-issuer=https://kubernetes.default.svc",
        # The server makes this key when it starts.
        f"--service-account-key-file={certificates / 'apiserver.key'}",
        f"--service-account-signing-key-file={certificates / 'apiserver.key'}",
    ]
    with ExitStack() as stack:
        stack.enter_context(process(etcd, folder / "etcd.log"))
        log = folder / "kube-apiserver.log"
        running = stack.enter_context(process(api_server, log))
        server = ApiServer(folder, port)

        def ready_or_ended() -> bool:
            return running.poll() is not None or server.is_ready()

        wait_for(f"the API server of {log}", ready_or_ended, START_TIMEOUT_S)
        assert running.poll() is None, log.read_text()[-2000:]
        yield server


@contextmanager
def process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` until the end of the block, with its output in ``log``."""
    with log.open("wb") as output:
        running = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
