"""The blocks of metrics in the object store are merged, and deleted once they are too old."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from string import Template
from typing import Any

import httpx2
import pytest

from tests.private_ports import free_port
from tests.processes import status_of, wait_for
from three_pillar_demo.stack.binaries import THANOS, Binary, find
from three_pillar_demo.stack.cluster import storage, thanos
from three_pillar_demo.stack.component import Component
from three_pillar_demo.stack.ports import LOOPBACK

pytestmark = pytest.mark.timeout(180)

HOUR_S = 3600
RECEIVER = Component(
    "receiver",
    (
        "receive",
        "--http-address=${BIND_ADDRESS}:${HTTP_PORT}",
        "--grpc-address=${BIND_ADDRESS}:${GRPC_PORT}",
        "--remote-write.address=${BIND_ADDRESS}:${WRITE_PORT}",
        "--receive.capnproto-address=${BIND_ADDRESS}:${CAPNPROTO_PORT}",
        "--tsdb.path=${RECEIVER_DATA}",
        '--label=replica="${REPLICA}"',
        f"--objstore.config={thanos.BUCKET}",
    ),
    (),
    "",
    stop_order=0,
    binary=THANOS,
    environment=thanos.THANOS_KEYS,
)
"""A receiver without others. It accepts samples of any age, and uploads its block when it stops."""
DELETE_DELAY_S = int(thanos.DELETE_DELAY.removesuffix("h")) * HOUR_S


class Bucket:
    """The bucket with the blocks of metrics, in an object store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables = {
            **os.environ,
            "BIND_ADDRESS": LOOPBACK,
            "OBJECT_STORE_PORT": str(free_port()),
            "OBJECT_STORE_DATA": str(folder / "store"),
            "THANOS_COMPACT_DATA": str(folder / "compact"),
        }
        self.blocks = folder / "store" / "buckets" / "thanos"

    @contextmanager
    def run(
        self, component: Component, ready: str, *more: str, **variables: int | str
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run ``component`` with ``more`` arguments until the end of the block.

        ``ready`` is the port and path that answer with 200 once it works. The process may also end.
        """
        environment = self.variables | {name: str(value) for name, value in variables.items()}
        environment |= {
            name: Template(value).safe_substitute(environment)
            for name, value in component.environment.items()
        }
        assert isinstance(component.binary, Binary)
        executable = find(component.binary)
        assert executable
        command = [Template(item).safe_substitute(environment) for item in component.command]
        with (self.folder / f"{component.name}.log").open("ab") as log:
            process = subprocess.Popen(
                [executable, *command, *more], env=environment, stdout=log, stderr=log
            )
        try:
            url = f"http://{LOOPBACK}:{ready}"
            wait_for(
                f"{component.name} to be ready",
                lambda: status_of(url) == 200 or process.poll() is not None,
            )
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            finally:
                process.kill()

    def upload(self, name: str, replica: int, ages_h: list[float]) -> str:
        """Let a receiver make a block of samples of one metric, and return the name of the block.

        ``ages_h`` is how many hours ago each sample was measured, the oldest first.
        """
        before = self.names()
        numbers: dict[str, int | str] = {
            variable: free_port()
            for variable in ("HTTP_PORT", "GRPC_PORT", "WRITE_PORT", "CAPNPROTO_PORT")
        }
        data = self.folder / f"receiver-{len(before)}"
        ready = f"{numbers['HTTP_PORT']}/-/ready"
        with self.run(RECEIVER, ready, **numbers, REPLICA=replica, RECEIVER_DATA=str(data)):
            for age_h in ages_h:
                url = f"http://{LOOPBACK}:{numbers['WRITE_PORT']}/api/v1/otlp"
                response = httpx2.post(url, json=gauge(name, age_h), trust_env=False)
                assert response.status_code == 200, response.text
        (block,) = self.names() - before
        return block

    def names(self) -> set[str]:
        """Return the names of all complete blocks, whether they will be deleted or not."""
        return {path.parent.name for path in self.blocks.glob("*/meta.json")}

    def folders(self) -> set[str]:
        """Return the names of all blocks of which a file is left. The first to go is meta.json."""
        # The object store has a folder of its own there, .sgwtmp.
        return {path.name for path in self.blocks.glob("[!.]*")}

    def marked(self) -> set[str]:
        """Return the names of the blocks that will be deleted."""
        return {path.parent.name for path in self.blocks.glob("*/deletion-mark.json")}

    def samples(self, block: str) -> int:
        """Return the number of samples in a block."""
        meta = json.loads((self.blocks / block / "meta.json").read_text())
        return int(meta["stats"]["numSamples"])

    def age_marks(self, seconds: int) -> None:
        """Let it seem that the blocks were marked ``seconds`` earlier."""
        for path in self.blocks.glob("*/deletion-mark.json"):
            mark = json.loads(path.read_text())
            mark["deletion_time"] -= seconds
            path.write_text(json.dumps(mark))


def gauge(name: str, age_h: float) -> dict[str, Any]:
    """Return an OTLP request with one sample, which is ``age_h`` hours old."""
    measured = int((time.time() - age_h * HOUR_S) * 1e9)
    metric = {"name": name, "gauge": {"dataPoints": [{"timeUnixNano": str(measured), "asInt": 1}]}}
    return {"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    """An empty bucket in a running object store."""
    bucket = Bucket(tmp_path)
    storage.create_buckets(tmp_path / "store")
    with bucket.run(storage.OBJECT_STORE, f"{bucket.variables['OBJECT_STORE_PORT']}/health"):
        yield bucket


@pytest.fixture
def compacting(bucket: Bucket) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """A function that starts the compactor of the cluster, and stops the one before it."""
    with ExitStack() as running:

        def start() -> subprocess.Popen[bytes]:
            running.close()
            port = free_port()
            # Otherwise it would wait until the blocks are half an hour old.
            return running.enter_context(
                bucket.run(
                    thanos.COMPACTOR,
                    f"{port}/-/ready",
                    "--consistency-delay=0s",
                    THANOS_COMPACT_PORT=port,
                )
            )

        yield start


def test_blocks_are_merged_and_deleted(
    bucket: Bucket, compacting: Callable[[], subprocess.Popen[bytes]]
) -> None:
    """A block older than the retention is gone after the delay, and a young one stays."""
    old = bucket.upload("old", 0, [75, 74])
    # As late samples make them: two blocks of one receiver for the same time.
    young = {bucket.upload("young", replica, [9, 6, 3, 0]) for replica in (0, 0, 1)}
    process = compacting()
    wait_for("blocks to be marked", lambda: bucket.marked() == {old, *young})
    (merged,) = bucket.names() - bucket.marked()
    assert bucket.samples(merged) == sum(bucket.samples(block) for block in young) > 0
    assert (bucket.blocks / old / "index").exists()

    bucket.age_marks(DELETE_DELAY_S + 60)
    assert process.poll() is None
    process = compacting()
    wait_for("old blocks to be deleted with all files", lambda: bucket.folders() == {merged})
    assert merged in bucket.names()
    assert process.poll() is None


def test_a_compactor_that_cannot_go_on_ends(bucket: Bucket) -> None:
    """After an error that needs a person the compactor exits, and does not stay ready in vain."""
    for _ in range(2):
        bucket.upload("young", 0, [9, 6, 3, 0])
    # Without this flag it may not merge blocks that overlap.
    command = [flag for flag in thanos.COMPACTOR.command if "deduplication" not in flag]
    compactor = replace(thanos.COMPACTOR, command=(*command, "--consistency-delay=0s"))
    port = free_port()
    with bucket.run(compactor, f"{port}/-/ready", THANOS_COMPACT_PORT=port) as process:
        wait_for("the compactor to end", lambda: process.poll() is not None)
    assert process.returncode == 1
