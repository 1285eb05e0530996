"""Tests of ``demo tail`` as a process on a store of its own, as a person or a script runs it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.demo.local_store.messages import log_record, log_request, span, trace_request
from tests.demo.local_store.stores import InMemoryStore, poll_until, running_store

PROGRAM = """
import sys
from pathlib import Path
from three_pillar_demo.query import connect
from three_pillar_demo.query.local import LocalBackends
path = Path(sys.argv.pop(1))
connect.create_backends = lambda: LocalBackends(path)
from three_pillar_demo.all_commands import app
app()
"""
"""Runs the command ``demo`` with the store file that the first argument names."""


@contextmanager
def running_tail(path: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Yield ``demo tail`` on the store file at ``path``; at the end, kill it if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path), "tail", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def next_line(process: subprocess.Popen[str]) -> str:
    """Return the next line of the output; the test's time limit ends a wait that is too long."""
    assert process.stdout
    return process.stdout.readline()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[InMemoryStore]:
    """Yield a store with one failed request, whose log record says why."""
    with running_store(tmp_path / "telemetry.db") as store:
        request = span("GET /order", error=True, seconds=0.01)
        request.status.message = ""
        store.send("traces", trace_request(request, service="shopfront"))
        record = log_record("database is away", severity=17)
        record.trace_id = request.trace_id
        record.span_id = request.span_id
        store.send("logs", log_request(record, service="shopfront"))
        yield store


def test_what_arrives_is_printed_until_ctrl_c(store: InMemoryStore) -> None:
    """History, then a new request; Ctrl-C ends the command with code 0 and without a traceback."""
    with running_tail(store.path, "--json") as process:
        history = [json.loads(next_line(process)) for _ in range(2)]
        assert {entry["type"] for entry in history} == {"request", "log"}
        [request] = [entry for entry in history if entry["type"] == "request"]
        assert request["reason"] == 'it logged "database is away"'
        store.send("traces", trace_request(span("GET /new"), service="shopfront"))
        assert json.loads(next_line(process))["name"] == "GET /new"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in err


def test_a_reader_that_goes_away_ends_the_command(store: InMemoryStore) -> None:
    """When the reader of the pipe ends, so does the command, even if nothing arrives any more."""
    with running_tail(store.path) as process:
        assert [bool(next_line(process)) for _ in range(2)] == [True, True]
        assert process.stdout
        process.stdout.close()
        poll_until(lambda: process.poll() is not None, "demo tail to end", 60)
        assert process.stderr
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_only_failures_of_one_service(store: InMemoryStore) -> None:
    """SERVICE and --errors leave out other services and what succeeded."""
    store.send("traces", trace_request(span("GET /first", error=True), service="stock"))
    with running_tail(store.path, "stock", "--errors") as process:
        assert "GET /first" in next_line(process)
        good = span("GET /good")
        bad = span("GET /bad", error=True)
        store.send("traces", trace_request(bad, service="other"))
        store.send("traces", trace_request(good, bad, service="stock"))
        printed = next_line(process)
    assert "GET /bad" in printed
    assert printed.split()[1] == "stock"


def test_without_a_store_the_command_fails(tmp_path: Path) -> None:
    """If nothing runs, the command ends with code 1 and one line that says what to do."""
    with running_tail(tmp_path / "missing.db") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err.startswith("demo tail: the local store at ")
    assert "demo status" in err
