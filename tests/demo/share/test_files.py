"""Tests for the files that ``demo follow`` writes, and for those that it does not replace."""

import asyncio
import json
import resource
from pathlib import Path
from typing import cast

import pytest

from tests.demo.web.conftest import FAILING, FakeBackends, StoredData
from tests.traces import TRACE, slow
from three_pillar_demo.query import connect
from three_pillar_demo.query.interface import Backends
from three_pillar_demo.share.files import TraceFiles
from three_pillar_demo.trace_view import follow

Output = pytest.CaptureFixture[str]


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> StoredData:
    """Return the data of the backends that ``demo follow`` asks: one slow purchase."""
    data = StoredData()
    view = slow()
    data.spans = view.spans
    data.trace_logs = view.logs
    monkeypatch.setattr(connect, "create_backends", lambda: cast("Backends", FakeBackends(data)))
    return data


def run(files: TraceFiles) -> int:
    """Follow the trace and write the files; return the exit code."""
    assert files.problem() == ""
    return asyncio.run(follow.follow(TRACE, write=files.write))


@pytest.mark.usefixtures("stored")
def test_both_files_are_written(tmp_path: Path, capsys: Output) -> None:
    """The HTML page and the OTLP lines are complete; each file is named, and stdout stays empty."""
    html = tmp_path / "a.html"
    otlp = tmp_path / "a.jsonl"
    assert run(TraceFiles(str(html), str(otlp))) == 0
    assert html.read_text().rstrip().endswith("</html>")
    assert "checkout answered 504" in html.read_text()
    spans, logs = (json.loads(text) for text in otlp.read_text().splitlines())
    assert spans["resourceSpans"]
    assert logs["resourceLogs"]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{html}: 4 spans, 3 log lines, 2 services" in captured.err
    assert f"{otlp}: 4 spans" in captured.err


@pytest.mark.usefixtures("stored")
def test_a_dash_is_stdout(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """With -, stdout has the file and nothing else."""
    assert run(TraceFiles(otlp="-")) == 0
    lines = capfdbinary.readouterr().out.splitlines()
    assert [next(iter(json.loads(text))) for text in lines] == ["resourceSpans", "resourceLogs"]


@pytest.mark.usefixtures("stored")
def test_a_file_is_replaced_only_by_force(tmp_path: Path) -> None:
    """A file that exists is refused before anything is queried, unless --force is given."""
    path = tmp_path / "a.html"
    path.write_text("mine")
    assert "add --force" in TraceFiles(str(path)).problem()
    assert asyncio.run(follow.follow(TRACE, write=TraceFiles(str(path)).write)) == 1
    assert path.read_text() == "mine", "a file that appears meanwhile is not replaced either"
    assert run(TraceFiles(str(path), force=True)) == 0
    assert "</html>" in path.read_text()


def test_names_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    """A folder, a file in a missing folder, and one name for both files are refused at once."""
    assert "is a folder" in TraceFiles(str(tmp_path)).problem()
    assert "does not exist" in TraceFiles(str(tmp_path / "no" / "a.html")).problem()
    assert "two different files" in TraceFiles("-", "-").problem()
    name = str(tmp_path / "a.html")
    (tmp_path / "sub").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path)
    for other in ("sub/../a.html", "linked/a.html", "./a.html"):
        files = TraceFiles(name, f"{tmp_path}/{other}", force=True)
        assert "two different files" in files.problem()
    Path(name).touch()
    (tmp_path / "hard-link").hardlink_to(name)
    assert "two different" in TraceFiles(name, str(tmp_path / "hard-link"), force=True).problem()
    assert not TraceFiles()


@pytest.mark.usefixtures("stored")
def test_a_file_that_cannot_be_replaced_stays(tmp_path: Path) -> None:
    """If the disk is full, --force leaves the earlier file as it was, and no other file."""
    path = tmp_path / "a.html"
    path.write_text("mine")
    path.chmod(0o640)
    link = tmp_path / "link.html"
    link.symlink_to(path)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    try:
        assert run(TraceFiles(str(link), force=True)) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert path.read_text() == "mine"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.html", "link.html"]
    assert run(TraceFiles(str(link), force=True)) == 0
    assert link.is_symlink()
    assert "</html>" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.usefixtures("stored")
def test_a_device_is_written_to(capsys: Output) -> None:
    """A name such as /dev/null is no file that could be lost, and needs no --force."""
    assert run(TraceFiles("/dev/null")) == 0
    assert "/dev/null: 4 spans" in capsys.readouterr().err


def test_a_file_says_what_is_missing(stored: StoredData, tmp_path: Path) -> None:
    """Log records that cannot be queried are named in the page, and the spans are written."""
    stored.faults["trace_logs"] = FAILING
    path = tmp_path / "a.html"
    assert run(TraceFiles(str(path))) == 0
    assert "no log lines, because trace_logs" in path.read_text()
