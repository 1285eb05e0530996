"""A service in servers other than its own: every process sends telemetry under an id of its own."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.private_ports import free_port
from tests.processes import InMemoryCollector, status_of, wait_for

STOP_TIMEOUT_S = 30
WORKER_CLASSES = {"gunicorn": "asgi", "uvicorn": "uvicorn.workers.UvicornWorker"}
"""The worker classes for gunicorn, by the project that they belong to."""
INSTANCES = {"fixed": "service.instance.id=pod-1", "random": "team=shop"}
"""Resource attributes in the environment, with which the instance id is fixed or random."""
CASES = list(itertools.product(WORKER_CLASSES, [False, True], INSTANCES))


@contextmanager
def run_gunicorn(
    folder: Path, collector: str, *options: str, **variables: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run payment in two workers of gunicorn until the end of the block; yield URL and process."""
    port = free_port()
    prefixes = ("OTEL_", "PAYMENT_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    own = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_BLRP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
    }
    command = [sys.executable, "-m", "gunicorn", "--workers=2", f"--bind=127.0.0.1:{port}"]
    output = folder / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*command, *options, "services.payment.service:create_service()"],
            env=inherited | own | variables,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"

    try:
        wait_for(
            f"gunicorn: {output}",
            lambda: process.poll() is not None or status_of(f"{url}/healthz") == 200,
        )
        assert process.poll() is None, output.read_text()
        yield url, process
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)


@pytest.mark.parametrize(("worker_class", "preload", "instance"), CASES)
def test_every_worker_of_gunicorn_is_an_instance(
    tmp_path: Path, collector: InMemoryCollector, worker_class: str, *, preload: bool, instance: str
) -> None:
    """Two gunicorn workers, with and without ``--preload``, are two instances that lose nothing."""
    options = [f"--worker-class={WORKER_CLASSES[worker_class]}"]
    if preload:
        options.append("--preload")
    variables = {"OTEL_RESOURCE_ATTRIBUTES": INSTANCES[instance]}
    requests_sent = 0

    def send_requests(url: str) -> bool:
        nonlocal requests_sent
        with ThreadPoolExecutor(8) as clients:
            statuses = clients.map(lambda _: status_of(f"{url}/nowhere", 60), range(16))
            assert set(statuses) == {404}
        requests_sent += 16
        return len(collector.instances["payment"]) >= 2

    with run_gunicorn(tmp_path, collector.url, *options, **variables) as (url, process):
        wait_for("telemetry of both workers", lambda: send_requests(url))
        send_requests(url)
        process.terminate()
        process.wait(STOP_TIMEOUT_S)
    assert collector.counted("payment") == requests_sent
    assert len(collector.spans) == requests_sent
    assert len(collector.lines) == requests_sent
    instances = collector.instances["payment"]
    assert len(instances) == 2
    assert all(name.startswith("pod-1/") for name in instances) == (instance == "fixed")
