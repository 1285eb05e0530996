"""Two tiers of real Collectors with the files of deploy/collector/, on free ports."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import yaml

from tests.binaries import executable
from tests.private_ports import free_port
from tests.processes import wait_for
from three_pillar_demo.stack.binaries import OTELCOL

ROOT = Path(__file__).parents[2]
SHARED = ROOT / "otel-collector.yaml"
AGENT = ROOT / "deploy/collector/agent.yaml"
GATEWAY = ROOT / "deploy/collector/gateway.yaml"
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20


class Tier:
    """One Collector of a tier, which can be killed and started again at the same address.

    Attributes:
        http: The port of its OTLP receiver over HTTP.
        grpc: The port of the one over gRPC.
    """

    def __init__(
        self, name: str, folder: Path, files: Sequence[Path], overlay: dict[str, Any], **env: str
    ) -> None:
        """Prepare a Collector with ``files`` and ``overlay``; its own files are in ``folder``."""
        self.http = free_port()
        self.grpc = free_port()
        self._metrics = free_port()
        self.log = folder / f"{name}.log"
        file = folder / f"{name}.yaml"
        # Its own metrics go to no backend.
        exporter = {"prometheus": {"host": "127.0.0.1", "port": self._metrics}}
        telemetry = {"metrics": {"readers": [{"pull": {"exporter": exporter}}]}}
        file.write_text(yaml.safe_dump({**overlay, "service": {"telemetry": telemetry}}))
        self._command = [str(executable(OTELCOL)), *(f"--config={path}" for path in (*files, file))]
        self._environment = {
            **os.environ,
            "OTEL_COLLECTOR_PORT": str(self.http),
            "OTEL_COLLECTOR_GRPC_PORT": str(self.grpc),
            "OTEL_COLLECTOR_HEALTH_PORT": str(free_port()),
            "OTEL_COLLECTOR_DATA": str(folder / f"{name}-queue"),
            **env,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of its OTLP receiver over HTTP."""
        return f"http://127.0.0.1:{self.http}"

    def own_metric(self, name: str, label: str) -> float:
        """Return the sum of its own metric ``name`` over the series that have ``label``."""
        page = httpx2.get(f"http://127.0.0.1:{self._metrics}/metrics", trust_env=False).text
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in page.splitlines()
            if line.startswith(name) and label in line
        )

    def start(self) -> None:
        """Start the Collector, and wait until it is ready."""
        starts = self._starts()
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                self._command, env=self._environment, stdout=output, stderr=output
            )
        self._process = process

        def started_or_ended() -> bool:
            return process.poll() is not None or self._starts() > starts

        wait_for(f"the Collector of {self.log}", started_or_ended, START_TIMEOUT_S)
        assert process.poll() is None, self.log.read_text()

    def _starts(self) -> int:
        return self.log.read_bytes().count(b"Everything is ready") if self.log.exists() else 0

    def kill(self) -> None:
        """End the Collector with SIGKILL."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End the Collector with SIGTERM, or with SIGKILL if that takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass
class TwoTiers:
    """Running Collectors: services send to an agent, agents to the gateways."""

    agents: list[Tier]
    gateways: list[Tier]


@contextmanager
def run_gateway(
    folder: Path, backend_url: str, name: str = "gateway", decision_wait: str = "", **env: str
) -> Iterator[Tier]:
    """Run a gateway with all backends at ``backend_url``; ``env`` has variables of its file.

    ``decision_wait``, such as ``2s``, takes the place of the value in its file.
    """
    backends = {
        exporter: {"endpoint": backend_url, "compression": "none"}
        for exporter in yaml.safe_load(SHARED.read_text())["exporters"]
    }
    overlay: dict[str, Any] = {"exporters": backends}
    if decision_wait:
        overlay["processors"] = {"tail_sampling": {"decision_wait": decision_wait}}
    gateway = Tier(name, folder, (SHARED, GATEWAY), overlay, **env)
    try:
        gateway.start()
        yield gateway
    finally:
        gateway.stop()


@contextmanager
def run_agent(folder: Path, gateways: Sequence[Tier], name: str = "agent") -> Iterator[Tier]:
    """Run an agent that sends to ``gateways``.

    With a single gateway its file is used as it is. With several, which differ in their ports, it
    has a list of addresses in place of the name that all gateways have.
    """
    addresses = [f"127.0.0.1:{gateway.grpc}" for gateway in gateways]
    overlay: dict[str, Any] = {}
    if len(gateways) > 1:
        resolver = {"resolver": {"dns": None, "static": {"hostnames": addresses}}}
        overlay["exporters"] = dict.fromkeys(
            yaml.safe_load(AGENT.read_text())["exporters"], resolver
        )
    variables = {"GATEWAYS_HOST": "127.0.0.1", "GATEWAYS_PORT": str(gateways[0].grpc)}
    agent = Tier(name, folder, (SHARED, AGENT), overlay, **variables)
    try:
        agent.start()
        yield agent
    finally:
        agent.stop()


@contextmanager
def run_two_tiers(folder: Path, backend_url: str, **env: str) -> Iterator[TwoTiers]:
    """Run two agents and two gateways until the end of the block.

    All backends are at ``backend_url``; ``env`` has variables of the gateways' file.
    """
    with ExitStack() as stack:
        gateways = [
            stack.enter_context(run_gateway(folder, backend_url, f"gateway-{number}", **env))
            for number in (1, 2)
        ]
        agents = [
            stack.enter_context(run_agent(folder, gateways, f"agent-{number}")) for number in (1, 2)
        ]
        yield TwoTiers(agents, gateways)
