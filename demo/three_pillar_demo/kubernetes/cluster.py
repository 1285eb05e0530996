"""kubectl, and what is checked on the cluster before anything is changed there."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

NAMESPACE = "three-pillar-demo"
OWN_LABEL = {"app.kubernetes.io/part-of": "three-pillar-demo"}
"""The label of the namespace, which another namespace of the same name does not have."""
OLDEST_VERSION = (1, 30)
"""The first version that has the preStop hook ``sleep`` by default."""
COMMAND_TIMEOUT_S = 60
ANSWER_TIMEOUT = "--request-timeout=5s"
HOW_TO_START = (
    "start one, for example with `kind create cluster`, or choose another with "
    "`kubectl config use-context NAME`"
)


class ClusterError(Exception):
    """The demo cannot run on the cluster; the message says what to do."""


class Cluster:
    """The cluster of kubectl's current context.

    Attributes:
        kubectl: The path of kubectl.
    """

    def __init__(self) -> None:
        """Find kubectl.

        Raises:
            ClusterError: There is no kubectl on PATH.
        """
        kubectl = shutil.which("kubectl")
        if not kubectl:
            raise ClusterError(
                "kubectl is not on PATH: install it (https://kubernetes.io/docs/tasks/tools/)"
            )
        self.kubectl = kubectl

    def run(
        self, *arguments: str, text: str = "", seconds: float = COMMAND_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl with ``arguments``, and with ``text`` on its standard input.

        Raises:
            ClusterError: It did not end within ``seconds``.
        """
        command = [self.kubectl, *arguments]
        try:
            return subprocess.run(  # noqa: S603  (kubectl of the user)
                command, input=text, capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ClusterError(
                f"`kubectl {arguments[0]}` did not end within {seconds:g} s"
            ) from error

    def output(self, *arguments: str, text: str = "", seconds: float = COMMAND_TIMEOUT_S) -> str:
        """Return what kubectl prints.

        Raises:
            ClusterError: It failed, or took too long.
        """
        completed = self.run(*arguments, text=text, seconds=seconds)
        if completed.returncode:
            raise ClusterError(f"`kubectl {arguments[0]}` failed: {last_line(completed.stderr)}")
        return completed.stdout

    def objects(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the objects that ``kubectl get`` with ``arguments`` finds.

        Raises:
            ClusterError: It failed.
        """
        command = ("get", *arguments, "--ignore-not-found", "--output=json")
        content = json.loads(self.output(*command) or '{"items": []}')
        found: list[dict[str, Any]] = content.get("items", [content])
        return found

    def check(self) -> str:
        """Check that the cluster answers and is new enough; return the name of its context.

        Raises:
            ClusterError: It does not answer, or is too old.
        """
        completed = self.run("version", "--output=json", ANSWER_TIMEOUT)
        versions = json.loads(completed.stdout or "{}")
        if completed.returncode or "serverVersion" not in versions:
            reason = last_line(completed.stderr)
            raise ClusterError(f"no cluster answers ({reason}): {HOW_TO_START}")
        version = str(versions["serverVersion"]["gitVersion"])
        numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
        if numbers < OLDEST_VERSION:
            oldest = ".".join(map(str, OLDEST_VERSION))
            raise ClusterError(f"the cluster has Kubernetes {version}: update it to {oldest}")
        return self.run("config", "current-context").stdout.strip() or "none"

    def has_demo(self) -> bool:
        """Return whether the namespace of the demo exists.

        Raises:
            ClusterError: A namespace of this name exists that is not the demo's.
        """
        found = self.objects("namespace", NAMESPACE)
        if not found:
            return False
        labels = found[0]["metadata"].get("labels", {})
        if not labels.items() >= OWN_LABEL.items():
            raise ClusterError(
                f"the namespace {NAMESPACE} is not one of this demo, and is left alone: "
                "choose another cluster"
            )
        return True


def render(cluster: Cluster, folder: Path) -> str:
    """Return the objects of the kustomization in ``folder`` as YAML.

    Raises:
        ClusterError: kubectl cannot render it.
    """
    return cluster.output("kustomize", "--load-restrictor", "LoadRestrictionsNone", str(folder))


def last_line(text: str) -> str:
    """Return the last line of ``text`` that is not blank; "no reason given" if there is none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
