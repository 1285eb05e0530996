"""Tests of finding a binary: on PATH in its pinned version, or in the output folder."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from three_pillar_demo.stack import binaries
from three_pillar_demo.stack.binaries import ALERTMANAGER, OTELCOL, PROMETHEUS


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Set an empty output folder, and a PATH that begins with ``tmp_path / "bin"``."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return tmp_path / "cache" / "three-pillar-demo"


def write_program(path: Path, output: str) -> Path:
    """Write an executable that prints ``output``; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\ncat <<'.'\n{output}\n.\n")
    path.chmod(0o755)
    return path


VERSION_OUTPUTS = {
    "Collector": (OTELCOL, "otelcol-contrib", "otelcol-contrib version {}", True),
    "Prometheus": (
        PROMETHEUS,
        "prometheus",
        "prometheus, version {} (branch: HEAD)\n  go version: go1.26.5",
        True,
    ),
    "Alertmanager": (
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
    "the core distribution of the Collector": (OTELCOL, "otelcol", "otelcol version {}", False),
}


@pytest.mark.parametrize("case", VERSION_OUTPUTS)
def test_executable_on_path_needs_the_pinned_version(tmp_path: Path, case: str) -> None:
    """An executable on PATH is used in its pinned version, and ignored in any other."""
    binary, name, output, is_used = VERSION_OUTPUTS[case]
    path = write_program(tmp_path / "bin" / name, output.format(binary.version))
    assert binaries.find(binary) == (path if is_used else None)


def test_path_takes_precedence_over_the_output_folder(tmp_path: Path) -> None:
    """The built executable is used only if PATH has none of the pinned version."""
    built = write_program(PROMETHEUS.folder() / "prometheus", "")
    assert binaries.find(PROMETHEUS) == built
    on_path = write_program(tmp_path / "bin" / "prometheus", "prometheus, version 1.0.0")
    assert binaries.find(PROMETHEUS) == built
    write_program(on_path, f"prometheus, version {PROMETHEUS.version}")
    assert binaries.find(PROMETHEUS) == on_path
    assert binaries.find_built(PROMETHEUS) == built


def test_output_folder_is_in_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path
) -> None:
    """The output folder follows XDG_CACHE_HOME, and is below ~/.cache without it."""
    assert PROMETHEUS.folder().parent == cache
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert PROMETHEUS.folder().parent == tmp_path / ".cache" / "three-pillar-demo"


def test_changed_recipe_leads_to_another_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The folder's name depends on the version, the build settings and every pinned module."""
    native = tmp_path / "native"
    shutil.copytree(binaries.NATIVE, native)
    monkeypatch.setattr(binaries, "NATIVE", native)
    assert PROMETHEUS.folder() == replace(PROMETHEUS).folder()
    folders = [PROMETHEUS.folder(), replace(PROMETHEUS, version="3.14.1").folder()]
    settings = native / "prometheus" / "build.toml"
    for old, new in (
        ("cmd/prometheus", "cmd/other"),
        ('"netgo"', '"net"'),
        ("version.Version", "version.Revision"),
    ):
        assert old in settings.read_text()
        settings.write_text(settings.read_text().replace(old, new))
        folders.append(PROMETHEUS.folder())
    with (native / "prometheus" / "go.sum").open("a") as pins:
        pins.write("example.com/tool v1.2.4 h1:=\n")
    folders.append(PROMETHEUS.folder())
    assert len(set(folders)) == len(folders)
