"""Embedded as a process: it starts, is killed, starts again, and what it said is stored is stored."""

import asyncio
import random
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import httpx2
import pytest
from google.rpc.status_pb2 import Status

from tests.demo.local_store.conftest import (
    MIB,
    PROTOBUF,
    Process,
    counter,
    line,
    logs,
    metrics,
    pairs,
    point,
    poll_until,
    read,
    span,
    traces,
)

KILLS = 20
SENDERS = 4
RESENT = 50


class Senders:
    """Threads that post real batches, each span with a name of its own, and note what was acknowledged."""

    def __init__(self, url: str) -> None:
        """Start them."""
        self.url = url
        self.sent: dict[str, tuple[str, bytes]] = {}
        self.acknowledged: set[str] = set()
        self.numbers = count()
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._run) for _ in range(SENDERS)]
        for each in self.threads:
            each.start()

    def _run(self) -> None:
        with httpx2.Client(base_url=self.url, timeout=30, trust_env=False) as http:
            while not self.over.is_set():
                name = f"batch {next(self.numbers)}"
                signal_, body = (
                    "traces",
                    traces(*(span(name) for _ in range(20))).SerializeToString(),
                )
                if name.endswith(("3", "7")):
                    signal_, body = (
                        "logs",
                        logs(*(line(name) for _ in range(20))).SerializeToString(),
                    )
                self.sent[name] = (signal_, body)
                if post(http, signal_, body) == 200:
                    self.acknowledged.add(name)
                else:
                    self.over.wait(0.02)  # nobody is there

    def stop(self) -> None:
        """End them."""
        self.over.set()
        for each in self.threads:
            each.join()


def post(http: httpx2.Client, signal_: str, body: bytes) -> int:
    """Send one request; 0 when nobody answered."""
    try:
        return http.post(f"/v1/{signal_}", content=body, headers=PROTOBUF).status_code
    except httpx2.HTTPError:
        return 0


def stored(path: Path) -> dict[str, int]:
    """How many rows each batch has in the file."""
    rows = read(
        path,
        "SELECT name, count(*) FROM span GROUP BY 1 UNION ALL SELECT body, count(*) FROM log GROUP BY 1",
    )
    return dict(rows)


def test_nothing_acknowledged_is_lost_in_twenty_kills(process: Process) -> None:
    """Killed twenty times under load it starts again, has all it acknowledged whole and once, also when that is sent again."""
    process.start()
    senders = Senders(process.url)
    chance = random.Random(5)  # noqa: S311  (no secret)
    try:
        for _ in range(KILLS):
            before = len(senders.acknowledged)
            more = before + chance.randrange(5, 40)
            poll_until(
                lambda more=more: len(senders.acknowledged) > more, "batches to be acknowledged"
            )  # type: ignore[misc]
            process.stop(signal.SIGKILL)
            process.start()
    finally:
        senders.stop()

    found = stored(process.path)
    assert not {name: found.get(name) for name in senders.acknowledged if found.get(name) != 20}
    assert set(found.values()) == {20}, "a batch is whole or not there"
    assert read(process.path, "PRAGMA integrity_check") == [("ok",)]

    unknown = set(senders.sent) - senders.acknowledged
    again = [*unknown, *sorted(senders.acknowledged)[:RESENT]]
    assert unknown, "some batch was under way when it was killed"
    with httpx2.Client(base_url=process.url, timeout=30, trust_env=False) as http:
        assert {post(http, *senders.sent[name]) for name in again} == {200}
    assert stored(process.path) == dict.fromkeys(senders.sent, 20)
    rows = dict(read(process.path, "SELECT * FROM tally"))
    assert rows["spans"] + rows["lines"] == 20 * len(senders.sent)


def test_it_stops_when_asked_and_the_file_is_whole(process: Process) -> None:
    """SIGTERM ends it within seconds and all it took is in the one file that is left."""
    process.start()
    senders = Senders(process.url)
    try:
        poll_until(lambda: len(senders.acknowledged) > 50, "batches to be acknowledged")
        assert process.stop() in {0, -signal.SIGTERM}  # uvicorn ends with the signal it was sent
    finally:
        senders.stop()
    assert [each.name for each in process.path.parent.iterdir()] == ["telemetry.db"]
    found = stored(process.path)
    assert {found.get(name) for name in senders.acknowledged} == {20}


@pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="only Linux limits what another process may write"
)
def test_a_full_disk_is_said_and_recovers_by_itself(process: Process) -> None:
    """When nothing can be written any more batches are told to come again and the health says why, until there is room."""
    process.start()
    with httpx2.Client(base_url=process.url, timeout=30, trust_env=False) as http:
        large = logs(*(line("x" * 4000) for _ in range(100))).SerializeToString()
        assert post(http, "logs", large) == 200
        assert process.process
        # Linux: a file may not grow over this, which is what a full disk is to whoever writes.
        limits = resource.prlimit(
            process.process.pid, resource.RLIMIT_FSIZE, (64 * 1024, resource.RLIM_INFINITY)
        )
        try:
            answer = http.post(
                "/v1/traces", content=traces(span("first")).SerializeToString(), headers=PROTOBUF
            )
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert Status.FromString(answer.content).code == 14
            health = http.get("/healthz")
            assert health.status_code == 503
            assert "disk" in health.json()["status"]
        finally:
            resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, limits)
        poll_until(process.answers, "the health without any batch that came")
        assert post(http, "traces", traces(span("after")).SerializeToString()) == 200
    assert read(process.path, "SELECT name FROM span") == [("after",)]
    assert read(process.path, "PRAGMA integrity_check") == [("ok",)]


def test_a_large_body_over_the_network_is_refused_in_words(process: Process) -> None:
    """A sender of far too much gets its 413 while it still sends, and the next is served."""
    process.start()

    async def send() -> httpx2.Response:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(5 * 8):
                yield bytes(MIB // 8)

        async with httpx2.AsyncClient(base_url=process.url, timeout=30, trust_env=False) as http:
            return await http.post("/v1/traces", content=parts(), headers=PROTOBUF)

    assert asyncio.run(send()).status_code == 413
    assert process.answers()


def test_two_on_one_port_are_one(process: Process) -> None:
    """A second one on the same port ends with an error, and the first goes on with a whole file."""
    process.start()
    second = subprocess.run(
        [sys.executable, "-m", "three_pillar_demo.local_store"],
        env=process.env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode != 0
    assert "address already in use" in second.stdout + second.stderr
    with httpx2.Client(base_url=process.url, timeout=30, trust_env=False) as http:
        sold = metrics(counter("sold", point(1, attributes=pairs(a="b"))))
        assert post(http, "metrics", sold.SerializeToString()) == 200
    assert read(process.path, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "0"), ("SIZE_MIB", "much"), ("SIZE_MIB", "1")]
)
def test_a_bad_setting_is_named(tmp_path: Path, name: str, value: str) -> None:
    """A setting that makes no sense ends it with one line that says what is allowed."""
    process = Process(tmp_path / "data", **{name: value})
    ended = subprocess.run(
        [sys.executable, "-m", "three_pillar_demo.local_store"],
        env=process.env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"STORE_{name}={value}: ")
    assert len(ended.stderr.splitlines()) == 1


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    """Where the data folder cannot be, it ends with one line that says where and why."""
    (tmp_path / "data").write_text("a file")
    process = Process(tmp_path / "data")
    ended = subprocess.run(
        [sys.executable, "-m", "three_pillar_demo.local_store"],
        env=process.env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    assert "cannot open" in ended.stderr
    assert "Traceback" not in ended.stderr
