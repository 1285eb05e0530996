"""Variables of a developer's shell: each is obeyed, refused in one line, or without effect."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.field.post_server import run_post_server
from tests.forked_programs import ForkServer, fork_server
from tests.private_ports import free_port
from tests.processes import InMemoryCollector, running_shop, serve, wait_for
from three_pillars import environment, surroundings
from three_pillars.export.session import otlp_session

CHARGE: dict[str, object] = {
    "order_id": "one",
    "amount": "1",
    "currency": "EUR",
    "card": "4111111111111111",
}

# --- Refused ---

REFUSED = {
    "SSL_CERT_FILE": ("/nowhere.pem", "a file with certificates"),
    "SSL_CERT_FILE without certificates": (__file__, "a file with certificates"),
    "SSL_CERT_FILE that is a folder": ("/tmp", "a file with certificates"),  # noqa: S108
    "SSL_CERT_DIR": ("/nowhere", "a folder of certificates"),
    "REQUESTS_CA_BUNDLE": ("/nowhere.pem", "a file with certificates or a folder of them"),
    "CURL_CA_BUNDLE": (__file__, "a file with certificates or a folder of them"),
    "SSLKEYLOGFILE": ("/nowhere/keys", "a file that can be written"),
    "SSLKEYLOGFILE that is a folder": ("/tmp", "a file that can be written"),  # noqa: S108
    "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": ("cpp", "upb or python"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """A server of programs that find imported what checks the variables."""
    with fork_server(tmp_path_factory.mktemp("refused"), "services.common.startup") as server:
        yield server


@pytest.mark.parametrize("service", ["checkout", "payment"])
@pytest.mark.parametrize("case_name", REFUSED)
def test_variable_that_cannot_be_obeyed_is_refused(
    server: ForkServer, case_name: str, service: str
) -> None:
    """A service ends with code 2 and one line: the variable, its value and what is allowed."""
    name = case_name.partition(" ")[0]
    value, allowed = REFUSED[case_name]
    inherited = {key: text for key, text in os.environ.items() if not key.startswith("OTEL_")}
    # An address of the range for documentation, so that a service that starts ends as well.
    variables = {name: value, f"{service.upper()}_BIND": "203.0.113.1"}
    completed = server.run(inherited | variables, module=f"services.{service}")
    assert (completed.returncode, completed.stdout) == (2, ""), completed.stderr
    assert completed.stderr == f"{name}={value}: allowed is {allowed}\n"


@pytest.mark.parametrize("name", surroundings.RULES)
@pytest.mark.parametrize("blank", ["", " "])
def test_blank_variable_is_unset(monkeypatch: pytest.MonkeyPatch, name: str, blank: str) -> None:
    """A blank value of a checked variable is accepted, as an unset one is."""
    monkeypatch.setenv(name, blank)
    assert surroundings.problems() == []


@pytest.mark.parametrize("name", surroundings.RULES)
def test_blank_variable_is_removed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """After ``prepare()`` no library sees a blank value, with which a client could not be made."""
    monkeypatch.setenv(environment.STABILITY_OPT_IN, "http")  # prepare() sets it, too
    monkeypatch.setenv(name, " ")
    environment.prepare()
    assert name not in os.environ
    httpx2.Client().close()


@pytest.mark.parametrize("value", ["x" * 300, "x/" * 3000, "x" * 100_000])
@pytest.mark.parametrize("name", surroundings.RULES)
def test_name_that_is_too_long_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A file or folder whose name is longer than any can be is refused in one line."""
    monkeypatch.setenv(name, value)
    (problem,) = surroundings.problems()
    assert problem.startswith(f"{name}=x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
@pytest.mark.parametrize("name", surroundings.RULES)
def test_path_below_an_unreadable_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A path below a folder that may not be read is refused in one line."""
    folder = tmp_path / "folder"
    folder.mkdir(mode=0)
    monkeypatch.setenv(name, str(folder / "certificates"))
    (problem,) = surroundings.problems()
    assert problem.startswith(f"{name}=")


def test_valid_values_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that can be created, a list of folders and an implementation are accepted."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    monkeypatch.setenv("SSL_CERT_DIR", f"/nowhere:{tmp_path}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    monkeypatch.setenv("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
    assert surroundings.problems() == []


# --- Without effect on a purchase and its telemetry ---

WITHOUT_EFFECT = {
    "proxies": dict.fromkeys(
        ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"),
        "socks5://127.0.0.1:1",
    ),
    "uvicorn": {
        "WEB_CONCURRENCY": "3",
        "UVICORN_PORT": "1",
        "UVICORN_WORKERS": "4",
        "UVICORN_HOST": "0.0.0.0",  # noqa: S104  (it must not be obeyed)
        "FORWARDED_ALLOW_IPS": "nonsense",
    },
    "Python": {
        "PYTHONPATH": "SHADOW",
        "PYTHONSTARTUP": "SHADOW/services/__init__.py",
        "PYTHONOPTIMIZE": "2",
        "PYTHONWARNINGS": "error",
        "PYTHONINSPECT": "1",
        "PYTHONDEVMODE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    },
    "locale": {
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
        "LC_ALL": "C",
        "TZ": "Asia/Kathmandu",
        "FORCE_COLOR": "1",
        "COLUMNS": "x",
    },
    "OpenTelemetry": {
        "OTEL_PYTHON_DISTRO": "x",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "fastapi,httpx,structlog",
        "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true",
        "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS": "GET",
        "OTEL_EXPORTER_OTLP_INSECURE": "false",
        "OTEL_EXPORTER_PROMETHEUS_PORT": "x",
        "OTEL_LOG_LEVEL": "none",
        "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
    },
    "other libraries": {
        "PROMETHEUS_MULTIPROC_DIR": "/nowhere",
        "PROMETHEUS_LEGACY_NAME_VALIDATION": "true",
        "PYDANTIC_DISABLE_PLUGINS": "1",
        "WRAPT_DISABLE_EXTENSIONS": "1",
        "GRPC_VERBOSITY": "debug",
        "GRPC_TRACE": "all",
        "HOME": "/nowhere",
    },
}


ALONE = "Python"
"""The variables that ``make test`` tries alone: with them, a process takes its time to start."""
TOGETHER = "all others"
CASES = {
    **WITHOUT_EFFECT,
    TOGETHER: {
        name: value
        for case_name, variables in WITHOUT_EFFECT.items()
        if case_name != ALONE
        for name, value in variables.items()
    },
}
"""The variables of each case. ``make test-long`` tries those of each kind without the others."""


@pytest.mark.parametrize(
    "case_name",
    [
        ALONE,
        TOGETHER,
        *(pytest.param(name, marks=pytest.mark.long) for name in WITHOUT_EFFECT if name != ALONE),
    ],
)
def test_variables_without_effect(
    tmp_path: Path, collector: InMemoryCollector, case_name: str
) -> None:
    """With these variables a purchase succeeds, is recorded once, and the services stop."""
    shadow = tmp_path / "shadow"
    for package in ("services", "payment", "checkout"):
        (shadow / package).mkdir(parents=True)
        (shadow / package / "__init__.py").write_text("raise SystemExit('not our package')")
    variables = {
        name: value.replace("SHADOW", str(shadow)) for name, value in CASES[case_name].items()
    }
    with running_shop(tmp_path, collector.url, **variables) as services:
        checkout, payment = services
        assert checkout.post("/checkout").json()["outcome"] == "success"
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda service: service.stop(20), services))
    assert [service.process.returncode for service in services] == [-15, -15]
    assert sorted(service for service, _ in collector.spans) == ["checkout"] * 3 + ["payment"]
    assert sorted(service for service, _ in collector.lines) == ["checkout", "payment"]
    for service in (checkout, payment):
        assert {line["level"] for line in service.lines()} == {"info"}


@pytest.mark.parametrize(("module", "prefix"), [("local_store", "STORE"), ("web", "WEB")])
def test_one_process_whatever_web_concurrency_says(
    tmp_path: Path, module: str, prefix: str
) -> None:
    """With ``WEB_CONCURRENCY`` the local store and the web UI start, in one process."""
    port = free_port()
    variables = {
        "WEB_CONCURRENCY": "3",
        f"{prefix}_PORT": str(port),
        "STORE_GRPC_PORT": str(free_port()),
        "STORE_DATA": str(tmp_path / "data"),
    }
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", f"three_pillar_demo.{module}"],
            env=os.environ | variables,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(
            f"{module} to start",
            lambda: process.poll() is not None or "Uvicorn running on" in output.read_text(),
        )
        assert process.poll() is None, output.read_text()
    finally:
        process.terminate()
        process.wait(30)


def test_automatic_configuration_of_fastapi_sends_nothing(
    tmp_path: Path, collector: InMemoryCollector
) -> None:
    """With ``FASTAPI_OTEL_AUTO_CONFIGURE`` each signal is exported once, and redacted."""
    variables = {"FASTAPI_OTEL_AUTO_CONFIGURE": "true"}
    with serve("payment", tmp_path, collector.url, **variables) as payment:
        payment.post("/charges", CHARGE)
        payment.stop(20)
    assert len(collector.spans) == 1
    assert len(collector.lines) == 1
    resources = [path for path, _ in collector.received]
    assert set(resources) == {"/v1/traces", "/v1/metrics", "/v1/logs"}


# --- Passwords of ~/.netrc ---


@pytest.mark.parametrize("header", [None, "Bearer token"])
def test_passwords_of_netrc_are_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: str | None
) -> None:
    """An export has the Authorization of ``OTEL_EXPORTER_OTLP_HEADERS`` or none."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    session = otlp_session("TRACES")
    assert session
    with session, run_post_server() as (url, posts):
        session.request("POST", f"{url}/v1/traces", data=b"x", headers={"Authorization": header})
    assert [post.authorization for post in posts] == [header]
