"""Tests of the local store as a process: kills, a full disk, a port in use, invalid settings."""

import asyncio
import random
import resource
import signal
import threading
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from google.rpc.status_pb2 import Status

from tests.demo.local_store.messages import (
    MIB,
    attributes,
    counter,
    log_record,
    log_request,
    metric_request,
    number_point,
    span,
    trace_request,
)
from tests.demo.local_store.stores import PROTOBUF, StoreProcess, poll_until, read_rows

SENDERS = 4
RECORDS_PER_BATCH = 20
RESENT_BATCHES = 50
GRPC_METHODS = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
MIN_FILE_LIMIT_BYTES = 64 * 1024


class Senders:
    """Threads that send batches with unique names, and record which were acknowledged.

    Half of them send over HTTP, the others over gRPC.
    """

    def __init__(self, store_process: StoreProcess) -> None:
        """Start the threads, which send to the store."""
        self.store_process = store_process
        self.sent: dict[str, tuple[str, bytes]] = {}
        self.acknowledged: set[str] = set()
        self.numbers = count()
        self.stopped = threading.Event()
        runs = [self._send_over_http, self._send_over_grpc]
        self.threads = [
            threading.Thread(target=runs[number % len(runs)]) for number in range(SENDERS)
        ]
        for thread in self.threads:
            thread.start()

    def _send_over_http(self) -> None:
        with client(self.store_process.url) as http:
            self._send(lambda signal_name, body: post(http, signal_name, body) == 200)

    def _send_over_grpc(self) -> None:
        with grpc_channel(self.store_process) as channel:
            self._send(lambda signal_name, body: export(channel, signal_name, body))

    def _send(self, is_acknowledged: Callable[[str, bytes], bool]) -> None:
        while not self.stopped.is_set():
            name = f"batch {next(self.numbers)}"
            self.sent[name] = new_batch(name)
            if is_acknowledged(*self.sent[name]):
                self.acknowledged.add(name)
            else:
                self.stopped.wait(0.1)  # the process is not running

    def stop(self) -> None:
        """Stop the threads and wait for their end."""
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def wait_for_more_than(self, batches: int) -> None:
        """Wait until more than ``batches`` batches are acknowledged."""
        poll_until(lambda: len(self.acknowledged) > batches, "batches to be acknowledged")


def new_batch(name: str) -> tuple[str, bytes]:
    """Return a signal and a request body with ``RECORDS_PER_BATCH`` records called ``name``."""
    if name.endswith(("3", "7")):
        records = [log_record(name) for _ in range(RECORDS_PER_BATCH)]
        return "logs", log_request(*records).SerializeToString()
    spans = [span(name) for _ in range(RECORDS_PER_BATCH)]
    return "traces", trace_request(*spans).SerializeToString()


def client(url: str) -> httpx2.Client:
    """Return an HTTP client for the local store at ``url``."""
    return httpx2.Client(base_url=url, timeout=30, trust_env=False)


def post(http: httpx2.Client, signal_name: str, body: bytes) -> int:
    """Send one export request; return the HTTP status, or 0 without a response."""
    try:
        return http.post(f"/v1/{signal_name}", content=body, headers=PROTOBUF).status_code
    except httpx2.HTTPError:
        return 0


def grpc_channel(store_process: StoreProcess) -> grpc.Channel:
    """Return a gRPC channel to the store, which connects again soon after the store was down."""
    options = [
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.min_reconnect_backoff_ms", 50),
        ("grpc.max_reconnect_backoff_ms", 200),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return grpc.insecure_channel(f"127.0.0.1:{store_process.grpc_port}", options=options)


def export(channel: grpc.Channel, signal_name: str, body: bytes) -> bool:
    """Make one export call; return whether it was answered with OK."""
    method: Any = channel.unary_unary(GRPC_METHODS[signal_name])
    try:
        method(body, timeout=30)
    except grpc.RpcError:
        return False
    return True


def stored_records(path: Path) -> dict[str, int]:
    """Return the number of stored records by the name of their batch."""
    rows = read_rows(
        path,
        "SELECT name, count(*) FROM span GROUP BY 1 "
        "UNION ALL SELECT body, count(*) FROM log GROUP BY 1",
    )
    return dict(rows)


def is_intact(path: Path) -> bool:
    """Return whether SQLite's integrity check of the file succeeds."""
    return read_rows(path, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.long)])
def test_no_acknowledged_batch_is_lost_by_kills(store_process: StoreProcess, kills: int) -> None:
    """After kills under load, each acknowledged batch is stored whole and exactly once."""
    store_process.start()
    senders = Senders(store_process)
    chance = random.Random(5)  # noqa: S311  (no secret)
    try:
        for _ in range(kills):
            senders.wait_for_more_than(len(senders.acknowledged) + chance.randrange(5, 40))
            store_process.stop(signal.SIGKILL)
            store_process.start()
    finally:
        senders.stop()

    records = stored_records(store_process.path)
    incomplete = {
        name: records.get(name)
        for name in senders.acknowledged
        if records.get(name) != RECORDS_PER_BATCH
    }
    assert not incomplete
    assert set(records.values()) == {RECORDS_PER_BATCH}, "a batch is stored whole or not at all"
    assert is_intact(store_process.path)

    unacknowledged = set(senders.sent) - senders.acknowledged
    assert unacknowledged, "some batch was being written at a kill"
    # On a busy machine the store is down for longer, and most of them have found no process.
    resent = {*sorted(unacknowledged)[:RESENT_BATCHES], *(unacknowledged & records.keys())}
    resent |= {*sorted(senders.acknowledged)[:RESENT_BATCHES]}
    with client(store_process.url) as http:
        assert {post(http, *senders.sent[name]) for name in resent} == {200}
    expected = dict.fromkeys(senders.acknowledged | resent, RECORDS_PER_BATCH)
    assert stored_records(store_process.path) == expected
    tally = dict(read_rows(store_process.path, "SELECT * FROM tally"))
    assert tally["spans"] + tally["lines"] == RECORDS_PER_BATCH * len(expected)


def test_sigterm_leaves_one_intact_file(store_process: StoreProcess) -> None:
    """After SIGTERM, all batches that were acknowledged are in the one file that is left."""
    store_process.start()
    senders = Senders(store_process)
    try:
        senders.wait_for_more_than(50)
        # uvicorn ends with the signal that it was sent.
        assert store_process.stop() in {0, -signal.SIGTERM}
    finally:
        senders.stop()
    files = [file.name for file in store_process.path.parent.iterdir()]
    assert files == ["telemetry.db"]
    records = stored_records(store_process.path)
    assert {records.get(name) for name in senders.acknowledged} == {RECORDS_PER_BATCH}


def test_ctrl_c_is_a_normal_end(store_process: StoreProcess) -> None:
    """After SIGINT the store ends with code 0 and no traceback, and leaves one file."""
    store_process.start()
    assert store_process.stop(signal.SIGINT) == 0
    assert "Traceback" not in store_process.log.read_text()
    assert [file.name for file in store_process.path.parent.iterdir()] == ["telemetry.db"]


@pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="only Linux limits the files of another process"
)
def test_a_full_disk_is_reported_and_the_store_recovers(store_process: StoreProcess) -> None:
    """While the disk is full, batches get 503 and ``/healthz`` reports the reason."""
    store_process.start()
    with client(store_process.url) as http:
        large = log_request(*(log_record("x" * 4000) for _ in range(100))).SerializeToString()
        assert post(http, "logs", large) == 200
        assert store_process.process
        pid = store_process.process.pid
        # A file that may not grow over a limit is like a full disk for the process.
        limits = resource.prlimit(
            pid, resource.RLIMIT_FSIZE, (MIN_FILE_LIMIT_BYTES, resource.RLIM_INFINITY)
        )
        try:
            body = trace_request(span("first")).SerializeToString()
            response = http.post("/v1/traces", content=body, headers=PROTOBUF)
            assert (response.status_code, response.headers["retry-after"]) == (503, "5")
            assert Status.FromString(response.content).code == 14
            health = http.get("/healthz")
            assert health.status_code == 503
            assert "disk" in health.json()["status"]
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
        poll_until(store_process.is_healthy, "the health, without a further batch")
        assert post(http, "traces", trace_request(span("after")).SerializeToString()) == 200
    assert read_rows(store_process.path, "SELECT name FROM span") == [("after",)]
    assert is_intact(store_process.path)


def test_a_large_body_is_refused_while_it_is_sent(store_process: StoreProcess) -> None:
    """A body that is too large is answered 413 before its end, and the store keeps running."""
    store_process.start()

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(5 * 8):
            yield bytes(MIB // 8)

    async def send() -> int:
        async with httpx2.AsyncClient(
            base_url=store_process.url, timeout=30, trust_env=False
        ) as http:
            response = await http.post("/v1/traces", content=parts(), headers=PROTOBUF)
            return response.status_code

    assert asyncio.run(send()) == 413
    assert store_process.is_healthy()


def test_a_second_process_on_the_same_port_ends(store_process: StoreProcess) -> None:
    """A second store on either port ends with an error, and the first one keeps running."""
    store_process.start()
    for name, port in (("PORT", store_process.port), ("GRPC_PORT", store_process.grpc_port)):
        second = StoreProcess(store_process.path.parent / "second", **{name: str(port)})
        ended = second.run_to_end()
        assert ended.returncode == 1
        assert ended.stderr == (
            f"cannot listen on 127.0.0.1:{port}: Address already in use."
            f" Stop what listens there, or set STORE_{name} to another port.\n"
        )
    point = number_point(1, attributes=attributes(a="b"))
    body = metric_request(counter("sold", point)).SerializeToString()
    with client(store_process.url) as http:
        assert post(http, "metrics", body) == 200
    assert is_intact(store_process.path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("GRPC_PORT", "0"),
        ("SIZE_MIB", "much"),
        ("SIZE_MIB", "1"),
        ("CORS_ORIGINS", "shop.test"),
        ("CORS_ORIGINS", "http://shop.test/path"),
        ("CORS_ORIGINS", "none, loopback"),
    ],
)
def test_an_invalid_setting_ends_the_process(tmp_path: Path, name: str, value: str) -> None:
    """An invalid setting ends the process with code 2 and one line that names the variable."""
    ended = StoreProcess(tmp_path / "data", **{name: value}).run_to_end()
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"STORE_{name}={value}: ")
    assert len(ended.stderr.splitlines()) == 1


def test_an_unknown_protobuf_implementation_ends_the_process(tmp_path: Path) -> None:
    """A variable with which protobuf cannot be imported ends the process with code 2, one line."""
    store = StoreProcess(tmp_path / "data")
    store.env["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "bogus"
    ended = store.run_to_end()
    assert ended.returncode == 2
    assert ended.stderr == (
        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=bogus: allowed is upb or python\n"
    )


def test_variables_of_the_libraries_have_no_effect(store_process: StoreProcess) -> None:
    """With the slow protobuf and an unknown way of gRPC to wait, the store stores all the same."""
    store_process.env["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"
    store_process.env["GRPC_POLL_STRATEGY"] = "bogus"
    store_process.start()
    body = trace_request(span("first"), span("second")).SerializeToString()
    with client(store_process.url) as http:
        assert post(http, "traces", body.replace(b"first", b"f\xff\xffst")) == 200
    rows = read_rows(store_process.path, "SELECT name FROM span ORDER BY rowid")
    assert rows == [("f\ufffd\ufffdst",), ("second",)]


def test_two_servers_on_one_port_are_refused(tmp_path: Path) -> None:
    """The same port for HTTP and gRPC ends the process with code 2 and one line."""
    store = StoreProcess(tmp_path / "data")
    store.env["STORE_GRPC_PORT"] = str(store.port)
    ended = store.run_to_end()
    assert ended.returncode == 2
    assert "STORE_PORT and STORE_GRPC_PORT are the same" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_data_folder_that_is_a_file_ends_the_process(tmp_path: Path) -> None:
    """A data folder that cannot be created ends the process with code 1, without a traceback."""
    (tmp_path / "data").write_text("a file")
    ended = StoreProcess(tmp_path / "data").run_to_end()
    assert ended.returncode == 1
    assert "cannot open" in ended.stderr
    assert "Traceback" not in ended.stderr
