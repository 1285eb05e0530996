"""Tests of the modes: how commands detect them, and how the full mode finds its binaries."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.stubs.running import Stack
from three_pillar_demo.stack import binaries, ports, preflight, state
from three_pillar_demo.stack.binaries import Binary
from three_pillar_demo.stack.cluster import choice as cluster_choice
from three_pillar_demo.stack.components import (
    BY_NAME,
    DEFAULT,
    FULL,
    LOCAL,
    MODES,
    WEB,
)
from three_pillar_demo.stack.environment import (
    tail_sampling_variables,
    unused_exporter_variables,
    variables_of,
)
from three_pillar_demo.stack.external_binary import LOKI, TEMPO, ExternalBinary

MakeStack = Callable[..., Stack]
Plan = dict[str, Any]
SHOP: Plan = {"name": "shop", "stop_order": 1}
METRICS: Plan = {"name": "metrics", "stop_order": 2, "full": True, "recipe": "prometheus"}
TRACES: Plan = {"name": "traces", "stop_order": 3, "full": True, "external": ["tracer", "3.0.3"]}
LOGS: Plan = {"name": "logs", "stop_order": 3, "full": True, "external": ["keeper", "3.7.6"]}
VERSION_WARNING = " on PATH is 3.1.0; known to work: 3.0.3"


@pytest.fixture
def make_stack(tmp_path: Path) -> Iterator[MakeStack]:
    """Return a function that creates stub stacks with ``tmp_path / "bin"`` on their PATH."""
    with ExitStack() as stacks:

        def make(*plans: Plan) -> Stack:
            stack = stacks.enter_context(Stack(tmp_path, *plans))
            stack.env["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{stack.env['PATH']}"
            return stack

        yield make


def install(path: Path, version: str) -> None:
    """Write an executable that prints ``version`` for ``--version``, else runs its arguments."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = --version ] && exec echo "{path.name}, version {version} (branch: x)"\n'
        'exec "$@"\n'
    )
    path.chmod(0o755)


def reported(stack: Stack) -> tuple[str, list[str]]:
    """Return the mode and the components that ``demo status`` reports."""
    report = json.loads(stack.demo("status", "--json").stdout)
    return report["mode"], [row["component"] for row in report["components"]]


def test_every_command_detects_the_mode(make_stack: MakeStack, tmp_path: Path) -> None:
    """Status, logs and down detect the mode, which is the last one while nothing is running."""
    install(tmp_path / "bin" / "tracer", "3.0.9")
    stack = make_stack(SHOP, TRACES)
    assert reported(stack) == ("local", ["shop"])
    started = stack.demo("up", "--detach", "--full")
    assert (started.returncode, started.stderr) == (0, "")
    assert "version" not in started.stdout  # Another patch release causes no warning.
    assert stack.run["mode"] == "full"
    assert reported(stack) == ("full", ["shop", "traces"])
    assert "traces" in stack.demo("logs", "traces").stdout
    refused = stack.demo("up")
    assert "a stack is already running (full, process " in refused.stderr
    assert stack.demo("down").returncode == 0
    assert stack.events("gone") == ["shop gone", "traces gone"]
    assert reported(stack) == ("full", ["shop", "traces"])
    stack.up()
    assert reported(stack) == ("local", ["shop"])
    assert stack.demo("down").returncode == 0
    assert stack.running_processes() == []


@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize("installed", [(), ("tracer",)])
def test_missing_binaries_are_reported_before_anything_starts(
    make_stack: MakeStack, tmp_path: Path, installed: tuple[str, ...], *, detached: bool
) -> None:
    """One message names every missing binary and its source, and nothing is started."""
    for name in installed:
        install(tmp_path / "bin" / name, "3.0.3")
    stack = make_stack(SHOP, METRICS, TRACES, LOGS)
    options = ["--detach"] if detached else []
    failed = stack.demo("up", "--full", *options)
    assert (failed.returncode, failed.stdout) == (1, "")
    missing = "keeper 3.7.6" if installed else "tracer 3.0.3 and keeper 3.7.6"
    assert failed.stderr.startswith(
        f"demo up: --full needs {missing} on PATH; nothing has been started.\n"
    )
    assert ("https://example.com/tracer/releases" in failed.stderr) == (not installed)
    assert "https://example.com/keeper/releases" in failed.stderr
    assert "docker compose up" in failed.stderr
    *_, last_line = failed.stderr.splitlines()
    assert last_line.startswith("--full needs stubtool 1.2.3, on PATH or in ")
    assert last_line.endswith("make binaries")
    assert stack.events() == []
    assert not (tmp_path / ".cache").exists()


def test_unbuilt_binary_is_one_line_that_names_make_binaries(
    make_stack: MakeStack, tmp_path: Path
) -> None:
    """If only a binary that this project builds is missing, the message is a single line."""
    stack = make_stack(SHOP, METRICS)
    failed = stack.demo("up", "--full")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == (
        "demo up: --full needs stubtool 1.2.3, on PATH or in "
        f"{tmp_path}/.cache/three-pillar-demo; nothing has been started. "
        "Build what is missing, once: make binaries\n"
    )
    assert stack.events() == []


def test_what_a_cluster_lacks_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names what is missing, and the target of make that builds all of it."""
    monkeypatch.setattr(binaries, "find", lambda _: None)
    with pytest.raises(preflight.LaunchError) as refused:
        preflight.find_executables(MODES[state.CLUSTER_LOCAL_STORE_MODE])
    text = str(refused.value)
    assert text.startswith("--cluster needs ")
    assert "thanos 0.42.4" in text
    assert text.count("thanos") == 1
    assert text.endswith("Build what is missing, once: make binaries-cluster")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ('openjdk version "11.0.2" 2019', "Java 17 or newer for Kafka, and the one on PATH is 11"),
        ("", "Java 17 or newer for Kafka, and there is none on PATH"),
        ('openjdk version "17" 2021-09-14', ""),
        ('openjdk version "21.0.4" 2024-07-16', ""),
    ],
)
def test_kafka_needs_java(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str, reason: str
) -> None:
    """A cluster with Kafka is refused where Java is missing or too old."""
    monkeypatch.setattr(binaries, "find", lambda _: Path("found"))
    monkeypatch.setattr(ExternalBinary, "path", Path("found"))
    if answer:
        (tmp_path / "java").write_text(f"#!/bin/sh\necho '{answer}' >&2\n")
        (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    if reason:
        with pytest.raises(preflight.LaunchError, match=reason):
            preflight.find_executables(MODES[state.CLUSTER_MODE])
    else:
        assert "kafka" in preflight.find_executables(MODES[state.CLUSTER_MODE])
    assert "thanos-query" in preflight.find_executables(MODES[state.CLUSTER_LOCAL_STORE_MODE])


@pytest.mark.parametrize(
    ("installed", "mode"),
    [
        (("tempo", "loki"), state.CLUSTER_MODE),
        (("tempo",), state.CLUSTER_LOCAL_STORE_MODE),
        ((), state.CLUSTER_LOCAL_STORE_MODE),
    ],
)
def test_a_cluster_has_the_local_store_without_tempo_or_loki(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: tuple[str, ...], mode: str
) -> None:
    """Only with both of them on PATH does the cluster run them."""
    for name in installed:
        install(tmp_path / name, "3.7.6")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cluster_choice.choose() == mode


def test_a_blank_sampling_rule_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Services, gateways and commands of a cluster take a blank variable for an unset one."""
    monkeypatch.setattr(state, "mode", lambda: state.CLUSTER_MODE)
    monkeypatch.setenv("TAIL_SAMPLING_PERCENTAGE", " ")
    monkeypatch.setenv("TAIL_SAMPLING_HASH_SALT", "")
    assert tail_sampling_variables() == {"TAIL_SAMPLING_PERCENTAGE": "10"}
    for component in MODES[state.CLUSTER_MODE]:
        if component.name in ("checkout", "payment", "otel-gateway-0"):
            variables = variables_of(component)
            assert variables["TAIL_SAMPLING_PERCENTAGE"] == "10"
            assert "TAIL_SAMPLING_HASH_SALT" not in variables


def test_a_wrong_sampling_rule_is_refused_before_the_start(make_stack: MakeStack) -> None:
    """``demo up --cluster`` names a variable that the services would refuse, and starts nothing."""
    stack = make_stack(SHOP)
    stack.env["TAIL_SAMPLING_PERCENTAGE"] = "101"
    refused = stack.demo("up", "--cluster")
    assert refused.returncode == 1
    assert refused.stderr.startswith("demo up: TAIL_SAMPLING_PERCENTAGE=101")
    assert stack.events() == []


def test_two_modes_at_once_are_refused(make_stack: MakeStack) -> None:
    """``--full`` and ``--cluster`` together are one line, and nothing is started."""
    stack = make_stack(SHOP)
    refused = stack.demo("up", "--full", "--cluster")
    assert refused.returncode == 1
    assert refused.stderr == "demo up: --full and --cluster are two modes; choose one\n"
    assert stack.events() == []


def test_a_process_of_a_cluster_has_its_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of one configuration file differ by their name, ports and folder."""
    monkeypatch.setattr(state, "mode", lambda: state.CLUSTER_MODE)
    for component in MODES[state.CLUSTER_MODE]:
        if component.name.startswith(("tempo-", "loki-")):
            variables = variables_of(component)
            assert variables["INSTANCE"] == component.name
            assert int(variables["HTTP_PORT"]) == component.ports[0].number
            assert int(variables["GRPC_PORT"]) == component.ports[1].number
            assert int(variables["GOSSIP_PORT"]) == component.ports[2].number


@pytest.mark.parametrize("place", ["PATH", "the output folder"])
def test_binary_is_started_from_where_it_is_found(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    """A component runs with its executable on PATH, or with the one in the output folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    built = Binary("prometheus", "1.2.3", "stubtool").folder() / "stubtool"
    executable = tmp_path / "bin" / "stubtool" if place == "PATH" else built
    install(executable, "1.2.3")
    stack = make_stack(SHOP, METRICS)
    stack.up("--full")
    first_line = stack.log("metrics").read_text().splitlines()[0]
    assert f" {executable} " in first_line
    assert stack.demo("down").returncode == 0


@pytest.mark.parametrize("leftover", ["stubtool-1.2.3-0123456789ab", "half-built"])
def test_executable_of_another_recipe_is_never_started(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, leftover: str
) -> None:
    """An executable of an old recipe, or of a build that has not ended, counts as missing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    target = Binary("prometheus", "1.2.3", "stubtool").folder()
    name = f"{target.name}.abc" if leftover == "half-built" else leftover
    install(target.with_name(name) / "stubtool", "1.2.3")
    failed = make_stack(SHOP, METRICS).demo("up", "--full")
    assert failed.returncode == 1
    assert "make binaries" in failed.stderr


def test_missing_recipe_is_one_message(make_stack: MakeStack) -> None:
    """If a binary's recipe folder is missing, one message names that folder."""
    failed = make_stack(SHOP, METRICS | {"recipe": "nowhere"}).demo("up", "--full")
    assert failed.returncode == 1
    assert failed.stderr.startswith("demo up: [Errno 2] ")
    assert "native/nowhere" in failed.stderr
    assert len(failed.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("version", "warning"),
    [("3.0.0", ""), ("3.1.0", VERSION_WARNING), ("none", "is of unknown version")],
)
def test_another_version_is_one_warning(
    make_stack: MakeStack, tmp_path: Path, version: str, warning: str
) -> None:
    """Another patch release causes no warning, any other version a warning of one line."""
    install(tmp_path / "bin" / "tracer", version)
    stack = make_stack(SHOP, TRACES)
    started = stack.demo("up", "--detach", "--full")
    assert started.returncode == 0
    warnings = [line for line in started.stdout.splitlines() if "known to work" in line]
    assert len(warnings) == (1 if warning else 0)
    assert not warning or warning in warnings[0]
    assert stack.demo("down").returncode == 0


def test_local_mode_needs_python_alone() -> None:
    """The default mode needs no binary, and both modes receive telemetry on the same port."""
    assert MODES[DEFAULT] is LOCAL
    assert all(component.binary is None for component in LOCAL)
    assert preflight.find_executables(LOCAL) == {}
    assert preflight.version_warnings(LOCAL) == []
    assert [component for component in FULL if component in LOCAL] == [*LOCAL[:2], WEB]
    assert BY_NAME["store"].ports[0].default == BY_NAME["otel-collector"].ports[0].default == 4318
    full_binaries = [component.binary for component in FULL]
    assert {binary for binary in full_binaries if isinstance(binary, ExternalBinary)} == {
        TEMPO,
        LOKI,
    }


ELSEWHERE = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://elsewhere:4318",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://elsewhere:4318/v1/traces",
    "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "authorization=secret",
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc",
    "OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such/file",
}


def test_telemetry_of_the_demo_stays_in_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the services get OTEL_ variables, and none of these names a receiver but the demo's."""
    for name, value in ELSEWHERE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    for name, component in BY_NAME.items():
        variables = variables_of(component)
        otlp = {
            key: value for key, value in variables.items() if "_OTLP_" in key and "OTEL_E" in key
        }
        expected = {
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_EXPORTER_OTLP_ENDPOINT": ports.STORE.url,
        }
        assert otlp == (expected if name in {"payment", "checkout"} else {})
    assert unused_exporter_variables() == sorted(ELSEWHERE)
    assert variables_of(BY_NAME["store"])["STORE_DATA"] == str(BY_NAME["store"].data)


def test_a_user_may_replace_the_addresses_of_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """CHECKOUT_PAYMENT_URL and WEB_GRAFANA_URL are the stack's own unless the user sets them."""
    names = ("CHECKOUT_PAYMENT_URL", "WEB_GRAFANA_URL")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    variables = variables_of(BY_NAME["checkout"])
    assert [variables[name] for name in names] == [ports.PAYMENT.url, ports.GRAFANA.url]
    for name in names:
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    variables = variables_of(BY_NAME["checkout"])
    assert [variables[name] for name in names] == ["http://127.0.0.1:1"] * 2


NOT_OBEYED = {
    "TEMPO_HOST": "10.0.0.1",
    "BIND_ADDRESS": "10.0.0.1",
    "CHECKOUT_BIND": "10.0.0.1",
    "STORE_DATA": "/elsewhere",
    "EMBEDDED_DATA": "/elsewhere",
}


@pytest.mark.parametrize("variable", NOT_OBEYED)
def test_a_variable_that_the_launcher_cannot_obey_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """An address or a data folder of a component is refused by name; the launcher's own is not."""
    components = [*LOCAL, *FULL]
    preflight.check_environment(components)
    monkeypatch.setenv(variable, NOT_OBEYED[variable])
    expected = f"^{variable}={NOT_OBEYED[variable]}: `demo up`"
    with pytest.raises(preflight.LaunchError, match=expected):
        preflight.check_environment(components)
    own = {"STORE_DATA": str(BY_NAME["store"].data), "EMBEDDED_DATA": ""}
    monkeypatch.setenv(variable, own.get(variable, "127.0.0.1"))
    preflight.check_environment(components)


def test_modes_have_the_same_names_everywhere() -> None:
    """The launcher's record accepts exactly the modes that have components."""
    assert set(MODES) == set(state.MODES)
