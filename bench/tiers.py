"""Measure the CPU time of agents and gateways: ``python -m bench.tiers [--quick]``.

An agent sends the same spans to one, two and four gateways, with the files of deploy/collector/.
The gateways share one core; agent, sender and a stand-in for Tempo run on the other core. If the
CPU time of a span does not depend on their number, gateways can be added for more spans.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from bench import report
from bench.collector import send
from bench.http import running
from bench.http.arms import ROOT
from bench.purchases import INTERVAL_NS, PURCHASES, SPANS, request_factory
from three_pillar_demo.stack import binaries

GATEWAY_COUNTS = (1, 2, 4)
RATE = 4_000
"""The spans a second that the agent receives."""
WARM_UP_S = 3
SHARED = ROOT / "otel-collector.yaml"
AGENT = ROOT / "deploy/collector/agent.yaml"
GATEWAY = ROOT / "deploy/collector/gateway.yaml"
HEADINGS = (
    "gateways",
    "spans/s",
    "gateways, CPU of a core",
    "spans/s on a core of a gateway",
    "spread",
    "agent, CPU of a core",
    "spans/s on a core of the agent",
    "kept",
)


@dataclass(frozen=True)
class Round:
    """The result of one run of an agent and its gateways under load.

    Attributes:
        rate: Acknowledged spans per second, without the warm-up.
        gateways: CPU time of all gateways together as a share of one core.
        agent: CPU time of the agent as a share of one core.
        kept: The share of the acknowledged spans that arrived at the stand-in for Tempo.
    """

    rate: float
    gateways: float
    agent: float
    kept: float


def main() -> None:
    """Measure one, two and four gateways in turn, round after round, and print a table."""
    options = report.arguments("bench.tiers", __doc__)
    binary = binaries.find(binaries.OTELCOL)
    if binary is None:
        sys.exit("the Collector is not built yet: make binaries")
    os.sched_setaffinity(0, {int(running.OTHER_CORE)})
    round_count = 1 if options.quick else 5
    seconds = 5 if options.quick else 15
    make = request_factory()
    requests = (WARM_UP_S + seconds) * RATE // (PURCHASES * SPANS)
    results: dict[int, list[Round]] = {count: [] for count in GATEWAY_COUNTS}
    for _ in range(round_count):
        for count, rounds in results.items():
            # Every trace is new: a gateway remembers those that it keeps.
            now_ns = time.time_ns()
            bodies = [
                make(now_ns + number * PURCHASES * INTERVAL_NS)[0] for number in range(requests)
            ]
            rounds.append(run_round(binary, count, seconds, bodies))
            sys.stderr.write(f"{count} gateways: {rounds[-1]}\n")
    section = results_section(results, seconds)
    report.print_section(section)
    if options.write:
        report.write_section(section)


def run_round(binary: Path, count: int, seconds: int, bodies: list[bytes]) -> Round:
    """Start ``count`` gateways and an agent, send spans for ``seconds``, and return the result.

    ``bodies`` are the requests; each is sent once.
    """
    with (
        tempfile.TemporaryDirectory() as folder_name,
        running.receiver() as tempo,
        running.receiver() as other_stores,
        ExitStack() as stack,
    ):
        folder = Path(folder_name)
        backends = {
            "TEMPO_OTLP_PORT": str(tempo.port),
            "LOKI_PORT": str(other_stores.port),
            "PROMETHEUS_PORT": str(other_stores.port),
        }
        gateways = []
        addresses = []
        for number in range(count):
            grpc_port = running.free_port()
            addresses.append(f"127.0.0.1:{grpc_port}")
            settings = backends | {"OTEL_COLLECTOR_GRPC_PORT": str(grpc_port)}
            gateway = collector(
                binary, folder / f"gateway-{number}", (GATEWAY,), running.SERVICE_CORE, settings
            )
            gateways.append(stack.enter_context(gateway).process)
        resolver = folder / "resolver.yaml"
        resolver.write_text(yaml.safe_dump(_static_resolver(addresses)))
        agent = stack.enter_context(
            collector(binary, folder / "agent", (AGENT, resolver), running.OTHER_CORE, backends)
        )
        warm_up = WARM_UP_S * RATE // (PURCHASES * SPANS)
        send(agent.port, RATE, WARM_UP_S, bodies[:warm_up], agent.process)
        before = [running.cpu_seconds(process) for process in (agent.process, *gateways)]
        began = time.monotonic()
        sent = send(agent.port, RATE, seconds, bodies[warm_up:], agent.process)
        duration = time.monotonic() - began
        after = [running.cpu_seconds(process) for process in (agent.process, *gateways)]
        shares = [(end - start) / duration for start, end in zip(before, after, strict=True)]
        stack.close()  # The Collectors export what they have.
        arrived = running.take_counts(tempo)["spans"]
    total = warm_up * PURCHASES * SPANS + sent.spans
    return Round(sent.spans / duration, sum(shares[1:]), shares[0], arrived / total)


def _static_resolver(addresses: list[str]) -> dict[str, Any]:
    """Return a configuration that names each gateway: on one machine they differ in their ports."""
    exporters = yaml.safe_load(AGENT.read_text())["exporters"]
    resolver = {"resolver": {"dns": None, "static": {"hostnames": addresses}}}
    return {"exporters": dict.fromkeys(exporters, resolver)}


@contextmanager
def collector(
    binary: Path, folder: Path, files: tuple[Path, ...], core: str, settings: dict[str, str]
) -> Iterator[running.Running]:
    """Run a Collector with ``files`` merged over otel-collector.yaml until the end of the block.

    ``settings`` are its environment variables, besides those for its hosts, ports and queue.
    """
    folder.mkdir()
    port = running.free_port()
    environment = {
        "TEMPO_HOST": "127.0.0.1",
        "LOKI_HOST": "127.0.0.1",
        "PROMETHEUS_HOST": "127.0.0.1",
        "OTEL_COLLECTOR_PORT": str(port),
        "OTEL_COLLECTOR_GRPC_PORT": str(running.free_port()),
        "OTEL_COLLECTOR_HEALTH_PORT": str(running.free_port()),
        "OTEL_COLLECTOR_METRICS_PORT": str(running.free_port()),
        "OTEL_COLLECTOR_DATA": str(folder / "queue"),
    } | settings
    command = [str(binary), *(f"--config={file}" for file in (SHARED, *files))]
    with running.started(command, core, port, folder / "log", environment) as process:
        yield running.Running(process, port)


def results_section(results: dict[int, list[Round]], seconds: int) -> report.Section:
    """Return a section for docs/benchmarks.md with the medians of all rounds."""
    rows = []
    for count, rounds in results.items():
        capacities = [round_.rate / round_.gateways for round_ in rounds]
        rows.append(
            (
                str(count),
                f"{median(round_.rate for round_ in rounds):,.0f}",
                f"{median(round_.gateways for round_ in rounds):.1%}",
                f"{median(capacities):,.0f}",
                f"{min(capacities):,.0f}-{max(capacities):,.0f}",
                f"{median(round_.agent for round_ in rounds):.1%}",
                f"{median(round_.rate / round_.agent for round_ in rounds):,.0f}",
                f"{median(round_.kept for round_ in rounds):.0%}",
            )
        )
    round_count = len(next(iter(results.values())))
    text = (
        f"Collector {binaries.OTELCOL.version}; spans only, in requests of {PURCHASES * SPANS}, by"
        f" OTLP over HTTP to one agent; {round_count} rounds of {seconds} s. Agent and gateways"
        " have the files of deploy/collector/."
    )
    return report.Section("tiers", text, [report.Table("", HEADINGS, rows)])


if __name__ == "__main__":
    main()
