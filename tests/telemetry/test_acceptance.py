"""The library in a new virtual environment, with the application of ``examples/fastapi_app``.

The telemetry of one request to that application is read from the demo's local store.
"""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tests.packaging.conftest import build
from tests.private_ports import free_port
from tests.processes import status_of, wait_for
from three_pillar_demo.local_store.process import FILE_NAME
from three_pillar_demo.query.interface import Exemplar, LogRecord, Span
from three_pillar_demo.query.local import LocalBackends

ROOT = Path(__file__).resolve().parents[2]
STOP_TIMEOUT_S = 15
INSTALL_TIMEOUT_S = 600
OFFLINE = "without an index"
OUR_TOP_LEVEL_NAMES = {"three_pillars", "three_pillar_demo", "services", "telemetry", "demo"}

LIST_TOP_LEVEL_NAMES = """
import json
from importlib.metadata import distribution
from pathlib import Path

installed = distribution("three-pillars")
site_packages = Path(installed.locate_file(""))
print(json.dumps({
    "of_the_library": sorted({path.parts[0] for path in installed.files or ()}),
    "of_all": sorted(path.name for path in site_packages.iterdir()),
}))
"""


def clean_environment(**variables: str) -> dict[str, str]:
    """Return this process's environment with ``variables``, but without inherited settings.

    Those left out are the variables of Python, OpenTelemetry and the local store.
    """
    prefixes = ("OTEL_", "STORE_", "PYTHON", "VIRTUAL_ENV")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}
    return inherited | variables


def constraints(folder: Path) -> Path:
    """Write ``requirements/runtime.lock`` as a constraints file for pip, and return its path.

    The file has no hashes, because pip does not accept them in constraints.
    """
    lines = (ROOT / "requirements" / "runtime.lock").read_text().splitlines()
    pins = [line.removesuffix("\\").strip() for line in lines if line and line[0].isalpha()]
    file = folder / "constraints.txt"
    file.write_text("\n".join(pins) + "\n")
    return file


@pytest.fixture(
    scope="module", params=[OFFLINE, pytest.param("with an index", marks=pytest.mark.long)]
)
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a virtual environment, install the library into it, and return its interpreter.

    The packages that the library depends on come from an index, or, if ``OFFLINE``, from the
    environment of the tests.
    """
    folder = tmp_path_factory.mktemp("environment")
    create = [sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")]
    subprocess.run(create, check=True, timeout=120)
    interpreter = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(interpreter), "--quiet"]
    options = ["--no-compile", "--disable-pip-version-check"]
    if request.param == OFFLINE:
        build(ROOT / "telemetry", folder, "wheel")
        (source,) = folder.glob("*.whl")
        options += ["--no-deps", "--no-index"]
    else:
        source = ROOT / "telemetry"
        options += ["--constraint", str(constraints(folder))]
    process = subprocess.run(
        [*pip, "install", *options, f"{source}[uvicorn]"],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    if request.param == OFFLINE:
        (site_packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
        (site_packages / "tests.pth").write_text(sysconfig.get_path("purelib"))
    return interpreter


@contextmanager
def running(
    command: list[str], output: Path, environment: Mapping[str, str], url: str
) -> Iterator[None]:
    """Run ``command`` until the end of the block, which begins when ``url`` responds.

    The stdout and stderr of the command go to the file ``output``.
    """

    def responds() -> bool:
        assert process.poll() is None, output.read_text()
        return status_of(url) is not None

    with output.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=output.parent, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        wait_for(f"{url}: see {output}", responds)
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Telemetry:
    """The telemetry of one trace in the local store, and the resources of all its senders."""

    trace_id: str
    spans: list[Span]
    records: list[LogRecord]
    exemplars: list[Exemplar]
    resources: list[dict[str, str]]


async def find_telemetry(data: Path, store_url: str, trace_id: str, since: float) -> Telemetry:
    """Return the telemetry of ``trace_id`` from the local store in the folder ``data``.

    ``since`` is the beginning of the searched time, in seconds since the epoch.
    """
    until = time.time()
    async with LocalBackends(data / FILE_NAME, store_url) as backends:
        spans = await backends.trace(trace_id)
        records = await backends.trace_logs(trace_id, since, until)
        exemplars = await backends.exemplars(since, until)
    with closing(sqlite3.connect(data / FILE_NAME)) as database:
        rows = database.execute("SELECT resource FROM source").fetchall()
    return Telemetry(
        trace_id,
        spans,
        records,
        [exemplar for exemplar in exemplars if exemplar.trace_id == trace_id],
        [json.loads(resource) for (resource,) in rows],
    )


@pytest.fixture(scope="module")
def telemetry(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Telemetry:
    """Run the example application and the local store, send one request, return its telemetry."""
    folder = tmp_path_factory.mktemp("run")
    data = folder / "store"
    store_url = f"http://127.0.0.1:{free_port()}"
    app_port = str(free_port())
    app_url = f"http://127.0.0.1:{app_port}"
    store_environment = clean_environment(
        STORE_PORT=store_url.rpartition(":")[2],
        STORE_GRPC_PORT=str(free_port()),
        STORE_DATA=str(data),
    )
    app_environment = clean_environment(
        OTEL_EXPORTER_OTLP_ENDPOINT=store_url, WEATHER_URL=f"{app_url}/weather"
    )
    store = [sys.executable, "-m", "three_pillar_demo.local_store"]
    example = str(ROOT / "examples" / "fastapi_app")
    app = [str(python), "-m", "uvicorn", "--app-dir", example, "app:app", "--port", app_port]
    since = time.time() - 1
    with (
        running(store, folder / "store.log", store_environment, f"{store_url}/healthz"),
        running(app, folder / "app.log", app_environment, f"{app_url}/openapi.json"),
    ):
        response = httpx2.get(f"{app_url}/trips/lisbon", trust_env=False)
        assert response.json() == {"city": "lisbon", "advice": "The sky over lisbon is clear: go."}
        trace_id = response.headers["traceresponse"].split("-")[1]
        stored = asyncio.run(find_telemetry(data, store_url, trace_id, since))

        def is_complete() -> bool:
            nonlocal stored
            stored = asyncio.run(find_telemetry(data, store_url, trace_id, since))
            return len(stored.spans) == 3 and len(stored.records) == 3 and bool(stored.exemplars)

        wait_for("the request in all three pillars", is_complete)
    return stored


@pytest.mark.timeout(INSTALL_TIMEOUT_S + 120)
def test_installation_adds_one_top_level_package(python: Path) -> None:
    """The library installs only the package ``three_pillars`` and its metadata."""
    process = subprocess.run(
        [python, "-c", LIST_TOP_LEVEL_NAMES],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    names = json.loads(process.stdout)
    package, metadata = names["of_the_library"]
    assert package == "three_pillars"
    assert metadata.startswith("three_pillars-")
    assert metadata.endswith(".dist-info")
    assert OUR_TOP_LEVEL_NAMES & set(names["of_all"]) == {"three_pillars"}


@pytest.mark.timeout(INSTALL_TIMEOUT_S + 120)
def test_foreign_application_has_three_joined_pillars(telemetry: Telemetry) -> None:
    """The trace id of a request to the example is in its spans, log records and an exemplar."""
    spans = [(span.kind, span.name) for span in telemetry.spans]
    assert ("SERVER", "GET /trips/{city}") in spans
    assert ("SERVER", "GET /weather/{city}") in spans
    assert sorted(kind for kind, _ in spans) == ["CLIENT", "SERVER", "SERVER"]
    assert {span.service for span in telemetry.spans} == {"trips"}
    bodies = [record.body for record in telemetry.records]
    assert "trip planned" in bodies
    assert {record.fields["trace_id"] for record in telemetry.records} == {telemetry.trace_id}
    assert telemetry.exemplars


@pytest.mark.timeout(INSTALL_TIMEOUT_S + 120)
def test_resource_of_a_foreign_application_has_nothing_of_the_shop(telemetry: Telemetry) -> None:
    """The resource of the example has its own name and version, and no attribute of the demo."""
    assert telemetry.resources
    for resource in telemetry.resources:
        own = {name: value for name, value in resource.items() if name.startswith("service.")}
        assert own.pop("service.instance.id")
        assert own == {"service.name": "trips", "service.version": "1.0.0"}
        assert "deployment.environment.name" not in resource
        assert "shop" not in str(resource)
        assert "three-pillar-demo" not in str(resource)
