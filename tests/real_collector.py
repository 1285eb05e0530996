"""A real Collector with otel-collector.yaml on free ports, and one URL for all its backends."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.binaries import executable
from tests.private_ports import free_port
from tests.processes import wait_for
from three_pillar_demo.stack.binaries import OTELCOL

CONFIG = Path(__file__).parents[1] / "otel-collector.yaml"
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20


@dataclass
class RealCollector:
    """A running Collector.

    Attributes:
        url: The URL of its OTLP receiver.
        process: Its process.
        log: The file that its output goes to.
        data: The folder of its queue files.
    """

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    data: Path

    def queue_file(self, exporter: str, signal: str) -> Path:
        """Return the queue file of an exporter, such as ``tempo``, for a signal: ``traces``."""
        return self.data / f"exporter_otlp_http_{exporter}_{signal}"


def collector_config() -> dict[str, Any]:
    """Return the parsed content of otel-collector.yaml."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    return config


def config_for(port: int, backend_url: str) -> dict[str, Any]:
    """Return otel-collector.yaml with HTTP on ``port`` and all backends at ``backend_url``.

    It sends uncompressed, and has no health check and no metrics of its own. Receiver limits,
    processors, queues and the storage of the queues are those of the file.
    """
    config = collector_config()
    http = {**config["receivers"]["otlp"]["protocols"]["http"], "endpoint": f"127.0.0.1:{port}"}
    config["receivers"]["otlp"]["protocols"] = {"http": http}
    for exporter in config["exporters"].values():
        exporter |= {"endpoint": backend_url, "compression": "none"}
    del config["extensions"]["health_check"]
    config["service"]["extensions"] = ["file_storage"]
    config["service"]["telemetry"]["metrics"] = {"level": "none"}
    return config


@contextmanager
def run_real_collector(folder: Path, backend_url: str) -> Iterator[RealCollector]:
    """Run the Collector until the end of the block.

    Its files are in ``folder``. A Collector that runs later with the same ``folder`` has the same
    queue files.
    """
    port = free_port()
    config_file = folder / "collector.yaml"
    config_file.write_text(yaml.safe_dump(config_for(port, backend_url)))
    log = folder / f"collector-{port}.log"
    data = folder / "queue"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(executable(OTELCOL)), f"--config={config_file}"],
            env={**os.environ, "OTEL_COLLECTOR_DATA": str(data)},
            stdout=output,
            stderr=output,
        )

    def started_or_ended() -> bool:
        return process.poll() is not None or b"Everything is ready" in log.read_bytes()

    try:
        wait_for("the Collector", started_or_ended, START_TIMEOUT_S)
        assert process.poll() is None, log.read_text()
        yield RealCollector(f"http://127.0.0.1:{port}", process, log, data)
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
