"""Measure the Collector's CPU time and memory: ``python -m bench.collector [--quick]``.

The pipeline of otel-collector.yaml is compared with a Collector that only receives and exports. The
Collector has a core of its own; a sender with prepared requests and a stand-in for Tempo run on the
other core.
"""

import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import psutil
import yaml

from bench import report
from bench.http import running
from bench.http.arms import ROOT
from bench.purchases import INTERVAL_NS, PURCHASES, SPANS, request_factory
from three_pillar_demo.stack import binaries

RATES = (2_000, 10_000)
"""The rates at which spans are sent, in spans per second."""
SPANS_PER_REQUEST = PURCHASES * SPANS
PREPARED_REQUESTS = 200
WARM_UP_S = 3
DRAIN_TIMEOUT_S = 30
"""How long to wait after the last request for spans that are still queued, in seconds."""
POLL_INTERVAL_S = 0.2
MAX_DELAY_S = 1.0
OK = 200
PORTS = {
    "otlp": "4318",
    "grpc": "4317",
    "tempo": "4418",
    "health": "13133",
    "own": "8888",
    "prometheus": "9090",
    "loki": "3100",
}
"""The port numbers in otel-collector.yaml, which each run replaces by numbers of free ports."""
PIPELINES = ("ours", "plain")
HEADINGS = (
    "pipeline",
    "spans/s",
    "CPU of a core",
    "spread",
    "RSS MiB, mean",
    "RSS MiB, max",
    "sent",
    "dropped",
)

Rounds = dict[tuple[str, int], list["Round"]]
"""The results of all runs, by pipeline and rate in spans per second.

The pipeline ``ours`` is otel-collector.yaml. The pipeline ``plain`` only receives and exports.
"""


@dataclass(frozen=True)
class Round:
    """The result of one run of the Collector under load.

    Attributes:
        rate: Acknowledged spans per second, without the warm-up.
        cpu: CPU time of the Collector as a share of one core (1 is a whole core).
        mean_mib: Mean resident memory in MiB.
        max_mib: Maximum of the resident memory in MiB.
        sent: Number of acknowledged spans, including the warm-up.
        dropped: Number of acknowledged spans that did not arrive at the stand-in for Tempo.
    """

    rate: float
    cpu: float
    mean_mib: float
    max_mib: float
    sent: int
    dropped: int


@dataclass(frozen=True)
class Sent:
    """What the sender measured during one run.

    Attributes:
        spans: Number of spans that the Collector acknowledged.
        resident_mib: Samples of the Collector's resident memory in MiB.
        delay: How late the latest request was sent, in seconds after its planned time.
    """

    spans: int
    resident_mib: list[float]
    delay: float


def main() -> None:
    """Measure the pipelines ``ours`` and ``plain`` at each rate in ``RATES``, and print a table.

    Every round measures each pipeline once at each rate.
    """
    options = report.arguments("bench.collector", __doc__)
    binary = binaries.find(binaries.OTELCOL)
    if binary is None:
        sys.exit("the Collector is not built yet: make binaries")
    os.sched_setaffinity(0, {int(running.OTHER_CORE)})
    round_count = 1 if options.quick else 5
    seconds = 5 if options.quick else 15
    rounds: Rounds = {(pipeline, rate): [] for rate in RATES for pipeline in PIPELINES}
    make = request_factory()
    now_ns = time.time_ns()
    bodies = [
        make(now_ns + number * PURCHASES * INTERVAL_NS)[0] for number in range(PREPARED_REQUESTS)
    ]
    for _ in range(round_count):
        for (pipeline, rate), results in rounds.items():
            results.append(run_round(binary, pipeline, rate, seconds, bodies))
            _log(f"{pipeline} {rate}: {results[-1]}")
    section = results_section(rounds, seconds)
    report.print_section(section)
    if options.write:
        report.write_section(section)


def config(pipeline: str, ports: dict[str, int]) -> str:
    """Return the Collector configuration of a pipeline, with the ports replaced by ``ports``.

    The pipeline ``ours`` is otel-collector.yaml. The pipeline ``plain`` has only the OTLP receiver
    and the trace exporter. Both keep their addresses and otherwise have default settings.
    """
    text = (ROOT / "otel-collector.yaml").read_text()
    for name, port in PORTS.items():
        text = text.replace(f":{port}", f":{ports[name]}")
        text = text.replace(f"port: {port}", f"port: {ports[name]}")
    if pipeline == "ours":
        return text
    parsed: dict[str, Any] = yaml.safe_load(text)
    endpoint = parsed["exporters"]["otlp_http/tempo"]["endpoint"]
    parsed["exporters"] = {"otlp_http/tempo": {"endpoint": endpoint}}
    parsed["extensions"] = {"health_check": parsed["extensions"]["health_check"]}
    parsed["service"]["extensions"] = ["health_check"]
    parsed["service"]["pipelines"] = {
        "traces": {"receivers": ["otlp"], "exporters": ["otlp_http/tempo"]}
    }
    parsed.pop("processors")
    return yaml.safe_dump(parsed)


def run_round(binary: Path, pipeline: str, rate: int, seconds: int, bodies: list[bytes]) -> Round:
    """Start a Collector, send it ``rate`` spans a second for ``seconds``, and return the result.

    ``bodies`` are the prepared requests, which are sent in turn.
    """
    with (
        tempfile.TemporaryDirectory() as folder_name,
        running.receiver() as tempo,
        running.receiver() as other_stores,
    ):
        folder = Path(folder_name)
        ports = {name: running.free_port() for name in PORTS}
        ports |= {"tempo": tempo.port, "prometheus": other_stores.port, "loki": other_stores.port}
        config_file = folder / "config.yaml"
        config_file.write_text(config(pipeline, ports))
        settings = {
            "TEMPO_HOST": "127.0.0.1",
            "LOKI_HOST": "127.0.0.1",
            "PROMETHEUS_HOST": "127.0.0.1",
            "OTEL_COLLECTOR_DATA": str(folder / "queue"),
        }
        command = [str(binary), f"--config={config_file}"]
        port = ports["otlp"]
        with running.started(
            command, running.SERVICE_CORE, port, folder / "log", settings
        ) as collector:
            warm_up = send(port, rate, WARM_UP_S, bodies, collector)
            cpu_before = running.cpu_seconds(collector)
            began = time.monotonic()
            sent = send(port, rate, seconds, bodies, collector)
            duration = time.monotonic() - began
            cpu = (running.cpu_seconds(collector) - cpu_before) / duration
            total = sent.spans + warm_up.spans
            arrived = _wait_for_spans(lambda: running.take_counts(tempo)["spans"], total)
        if sent.delay > MAX_DELAY_S:
            _log(f"the sender was up to {sent.delay:.1f} s late: the rate was not kept")
        return Round(
            rate=sent.spans / duration,
            cpu=cpu,
            mean_mib=fmean(sent.resident_mib),
            max_mib=max(sent.resident_mib),
            sent=total,
            dropped=total - arrived,
        )


def _wait_for_spans(take: Callable[[], int], expected: int) -> int:
    """Wait until ``expected`` spans have arrived, at most ``DRAIN_TIMEOUT_S`` seconds.

    Return how many have arrived. ``take`` returns how many spans arrived since its last call.
    """
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    arrived = take()
    while arrived < expected and time.monotonic() < deadline:
        time.sleep(POLL_INTERVAL_S)
        arrived += take()
    return arrived


def send(
    port: int, rate: int, seconds: int, bodies: list[bytes], collector: subprocess.Popen[bytes]
) -> Sent:
    """Send ``rate`` spans a second to the Collector for ``seconds``, over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    process = psutil.Process(collector.pid)
    requests = rate * seconds // SPANS_PER_REQUEST
    samples_every = max(1, rate // SPANS_PER_REQUEST // 4)
    headers = {"content-type": "application/x-protobuf"}
    resident_mib = []
    acknowledged = 0
    delay = 0.0
    began = time.monotonic()
    for number in range(requests):
        due = began + number * SPANS_PER_REQUEST / rate
        time.sleep(max(0.0, due - time.monotonic()))
        delay = max(delay, time.monotonic() - due)
        connection.request("POST", "/v1/traces", bodies[number % len(bodies)], headers)
        response = connection.getresponse()
        response.read()
        if response.status == OK:
            acknowledged += SPANS_PER_REQUEST
        if number % samples_every == 0:
            resident_mib.append(process.memory_info().rss / 1024**2)
    connection.close()
    return Sent(acknowledged, resident_mib, delay)


def _log(message: str) -> None:
    sys.stderr.write(f"{message}\n")


def results_section(rounds: Rounds, seconds: int) -> report.Section:
    """Return a section for docs/benchmarks.md with the medians of all rounds."""
    rows = []
    for (pipeline, rate), results in rounds.items():
        cpus = [result.cpu for result in results]
        cpu = f"{median(cpus):.1%}"
        if pipeline == "ours":
            plain = median(result.cpu for result in rounds["plain", rate])
            cpu += f" ({median(cpus) / plain:.1f} times)"
        rows.append(
            (
                pipeline,
                f"{median(result.rate for result in results):,.0f}",
                cpu,
                f"{min(cpus):.1%}-{max(cpus):.1%}",
                f"{median(result.mean_mib for result in results):.0f}",
                f"{median(result.max_mib for result in results):.0f}",
                f"{sum(result.sent for result in results):,}",
                f"{sum(result.dropped for result in results):,}",
            )
        )
    round_count = len(next(iter(rounds.values())))
    text = (
        f"Collector {binaries.OTELCOL.version}; spans only, in requests of {SPANS_PER_REQUEST}, by"
        f" OTLP over HTTP; {round_count} rounds of {seconds} s. `ours` is otel-collector.yaml,"
        " `plain` is its receiver and exporter with their defaults: no memory limit, no queue on"
        " disk."
    )
    return report.Section("collector", text, [report.Table("", HEADINGS, rows)])


if __name__ == "__main__":
    main()
