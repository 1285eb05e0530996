"""What our pipeline costs the Collector, over one that only receives and sends: ``python -m bench.collector [--quick]``.

The real Collector on a core of its own; a sender that makes nothing while it sends, and a stand-in for Tempo, on the other.
"""

import http.client
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import psutil
import yaml

from bench import report
from bench.http import running
from bench.http.arms import ROOT
from bench.purchases import EACH, SPANS, STEP, template
from three_pillar_demo.stack import binaries

RATES = (2_000, 10_000)
"""Spans a second."""
BATCH = EACH * SPANS
WARM_UP = 3
DRAINED = 30
"""Seconds that what is still queued may take."""
PORTS = {
    "otlp": "4318",
    "grpc": "4317",
    "tempo": "4418",
    "health": "13133",
    "own": "8888",
    "prometheus": "9090",
    "loki": "3100",
}
HEADINGS = (
    "pipeline",
    "spans/s",
    "CPU of a core",
    "spread",
    "RSS MiB, mean",
    "RSS MiB, most",
    "sent",
    "dropped",
)


@dataclass(frozen=True)
class Round:
    """What one run of the Collector took."""

    rate: float
    cpu: float
    mean: float
    most: float
    sent: int
    dropped: int


def main() -> None:
    """Play both pipelines at both rates, in turn."""
    said = report.arguments("bench.collector", __doc__)
    binary = binaries.find(binaries.OTELCOL)
    if binary is None:
        sys.exit("the Collector is not built yet: make binaries")
    os.sched_setaffinity(0, {int(running.REST)})
    count, seconds = (1, 5) if said.quick else (5, 15)
    played: dict[tuple[str, int], list[Round]] = {
        (which, rate): [] for rate in RATES for which in ("ours", "plain")
    }
    patch, now = template(), time.time_ns()
    bodies = [patch(now + number * EACH * STEP)[0] for number in range(200)]
    for _ in range(count):
        for (which, rate), rounds in played.items():
            rounds.append(play(binary, which, rate, seconds, bodies))
            _say(f"{which} {rate}: {rounds[-1]}")
    section = shown(played, seconds)
    report.draw(section)
    if said.write:
        report.write(section)


def config(which: str, ports: dict[str, int]) -> str:
    """Our Collector's configuration on other ports; ``plain`` is its receiver and its exporter of spans with their defaults."""
    text = (ROOT / "otel-collector.yaml").read_text()
    for name, usual in PORTS.items():
        text = text.replace(f":{usual}", f":{ports[name]}").replace(
            f"port: {usual}", f"port: {ports[name]}"
        )
    if which == "ours":
        return text
    known: dict[str, Any] = yaml.safe_load(text)
    exporter = known["exporters"]["otlp_http/tempo"]
    known["exporters"] = {"otlp_http/tempo": {"endpoint": exporter["endpoint"]}}
    known["extensions"] = {"health_check": known["extensions"]["health_check"]}
    known["service"]["extensions"] = ["health_check"]
    known["service"]["pipelines"] = {
        "traces": {"receivers": ["otlp"], "exporters": ["otlp_http/tempo"]}
    }
    known.pop("processors")
    return yaml.safe_dump(known)


def play(binary: Path, which: str, rate: int, seconds: int, bodies: list[bytes]) -> Round:
    """Send ``rate`` spans a second through a new Collector."""
    with (
        tempfile.TemporaryDirectory() as name,
        running.receiver() as tempo,
        running.receiver() as others,
    ):
        folder = Path(name)
        ports = {name: running.free_port() for name in PORTS}
        ports |= {"tempo": tempo.port, "prometheus": others.port, "loki": others.port}
        (folder / "config.yaml").write_text(config(which, ports))
        settings = {f"{name}_HOST": "127.0.0.1" for name in ("TEMPO", "LOKI", "PROMETHEUS")}
        settings |= {"OTEL_COLLECTOR_DATA": str(folder / "queue")}
        command = [str(binary), f"--config={folder / 'config.yaml'}"]
        with running.started(
            command, running.SERVICE, ports["otlp"], folder / "log", settings
        ) as collector:
            warm, _, _ = send(ports["otlp"], rate, WARM_UP, bodies, collector)
            before, began = running.cpu(collector), time.monotonic()
            sent, resident, late = send(ports["otlp"], rate, seconds, bodies, collector)
            took = time.monotonic() - began
            share = (running.cpu(collector) - before) / took
            deadline, arrived = time.monotonic() + DRAINED, running.taken(tempo)["spans"]
            while arrived < sent + warm and time.monotonic() < deadline:
                time.sleep(0.2)
                arrived += running.taken(tempo)["spans"]
            if late > 1:
                _say(f"the sender was up to {late:.1f} s late: the rate was not kept")
            return Round(
                sent / took,
                share,
                fmean(resident),
                max(resident),
                sent + warm,
                sent + warm - arrived,
            )


def send(
    port: int, rate: int, seconds: int, bodies: list[bytes], collector: subprocess.Popen[bytes]
) -> tuple[int, list[float], float]:
    """Send at ``rate``; returns the spans that were acknowledged, the Collector's memory meanwhile, and the worst delay."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    began, process, late = time.monotonic(), psutil.Process(collector.pid), 0.0
    resident, requests, sent = [], rate * seconds // BATCH, 0
    for number in range(requests):
        due = began + number * BATCH / rate
        time.sleep(max(0.0, due - time.monotonic()))
        late = max(late, time.monotonic() - due)
        connection.request(
            "POST",
            "/v1/traces",
            bodies[number % len(bodies)],
            {"content-type": "application/x-protobuf"},
        )
        answer = connection.getresponse()
        answer.read()
        sent += BATCH if answer.status == 200 else 0  # noqa: PLR2004
        if number % max(1, rate // BATCH // 4) == 0:
            resident.append(process.memory_info().rss / 1024**2)
    connection.close()
    return sent, resident, late


def _say(what: str) -> None:
    sys.stderr.write(f"{what}\n")


def shown(played: dict[tuple[str, int], list[Round]], seconds: int) -> report.Section:
    """The medians."""
    rows = []
    for (which, rate), rounds in played.items():
        cpus = [each.cpu for each in rounds]
        base = median(each.cpu for each in played["plain", rate])
        ratio = f" ({median(cpus) / base:.1f} times)" if which == "ours" else ""
        memory = [f"{median(getattr(each, of) for each in rounds):.0f}" for of in ("mean", "most")]
        lost = sum(each.dropped for each in rounds)
        row = (
            f"{median(cpus):.1%}{ratio}",
            f"{min(cpus):.1%}-{max(cpus):.1%}",
            *memory,
            f"{sum(each.sent for each in rounds):,}",
        )
        rows.append((which, f"{median(each.rate for each in rounds):,.0f}", *row, f"{lost:,}"))
    count = len(next(iter(played.values())))
    words = (
        f"Collector {binaries.OTELCOL.version}; spans only, in requests of {BATCH}, by OTLP over HTTP; {count} rounds of "
        f"{seconds} s. `ours` is otel-collector.yaml as it stands, `plain` its receiver and exporter with their defaults: no "
        "limit on memory, no queue on disk."
    )
    return report.Section("collector", words, [report.Table("", HEADINGS, rows)])


if __name__ == "__main__":
    main()
