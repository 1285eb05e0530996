"""docker-compose.yaml on a Docker engine: start, hardening, complete telemetry, and stop."""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.compose import engine, standins
from tests.compose.conftest import ComposeProject
from three_pillar_demo.load import checkout_client
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.interface import BackendError, Backends
from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.verify.check import poll_until
from three_pillar_demo.verify.ledger import Ledger, fill
from three_pillar_demo.verify.log_check import check_logs
from three_pillar_demo.verify.metric_check import Counters, check_metrics, read_counters
from three_pillar_demo.verify.trace_check import check_traces

pytestmark = [pytest.mark.stack, pytest.mark.engine, pytest.mark.timeout(900)]
POLL_INTERVAL_S = 0.1
KILLED = 137
IGNORES_SIGTERM = {"tempo"}
"""Components that may have to be killed: Tempo ignores SIGTERM once it has answered a query (see
docker-compose.yaml)."""
LIST_PACKAGES = """
import importlib.metadata, sys
folders = [path for path in sys.path if path.startswith("/venv")]
for distribution in importlib.metadata.distributions(path=folders):
    print(distribution.name.lower())
"""
"""A Python script that prints the packages in the virtual environment of the image."""
FIND_PIP = "import importlib.util; print(importlib.util.find_spec('pip'))"

PrintFigure = Callable[[str], None]


@pytest.fixture
def print_figure(capsys: pytest.CaptureFixture[str]) -> PrintFigure:
    """A function that prints a line to the terminal although pytest captures the output."""

    def print_line(line: str) -> None:
        with capsys.disabled():
            print(f"\n  {line}", flush=True)  # noqa: T201  (the figures are a result of the run)

    return print_line


def test_all_containers_start(project: ComposeProject, print_figure: PrintFigure) -> None:
    """Every container with a health check is healthy, and the init containers exit with 0."""
    for name, source in project.images.items():
        print_figure(f"{name}: {source}")
    for name, container in engine.containers().items():
        state = engine.inspect(container)["State"]
        if name in {"otel-collector-init", "otel-collector-queue-check"}:
            assert (state["Status"], state["ExitCode"]) == ("exited", 0)
        else:
            assert (state["Status"], state.get("Health", {}).get("Status", "healthy")) == (
                "running",
                "healthy",
            ), name
    assert engine.containers().keys() == set(project.services)


def test_our_image_contains_no_tools(project: ComposeProject, print_figure: PrintFigure) -> None:
    """The project's image has a non-root user, and contains no pip, build or test tool."""
    image = engine.inspect(engine.OUR_IMAGE, "image")
    base = engine.inspect(standins.base_image(), "image")
    assert image["Config"]["User"] == "10001:10001"
    run = ("run", "--rm", "--network", "none", engine.OUR_IMAGE)
    packages = engine.docker(*run, "python", "-c", LIST_PACKAGES).split()
    assert "three-pillar-demo" in packages
    assert not {"pip", "setuptools", "hatchling", "pytest", "mypy", "ruff"} & set(packages)
    assert engine.docker(*run, "/usr/local/bin/python", "-c", FIND_PIP) == "None"
    added = (image["Size"] - base["Size"]) / 2**20
    print_figure(f"our image adds {added:.0f} MiB to its base, {len(packages)} packages")
    assert project.images[standins.base_image()] in {"official", "stand-in"}


def test_containers_are_locked_down(project: ComposeProject) -> None:
    """The engine applies the user, file system, capabilities, limits and ports of the file."""
    for name in project.services:
        container = engine.inspect(engine.containers()[name])
        host = container["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert host["Memory"] > 0, name
        assert host["NanoCpus"] > 0, name
        assert host["PidsLimit"] > 0, name
        addresses = [
            binding["HostIp"]
            for bindings in container["NetworkSettings"]["Ports"].values()
            for binding in bindings or []
        ]
        assert set(addresses) <= {"127.0.0.1"}, name
        if container["State"]["Running"]:
            _, *processes = engine.docker("top", container["Id"], "-eo", "pid,uid").splitlines()
            assert processes
            assert "0" not in {process.split()[1] for process in processes}, name


def test_verify_passes_from_the_host(project: ComposeProject, print_figure: PrintFigure) -> None:
    """``demo verify`` on the host passes, using the published ports of the containers."""
    assert project.services
    completed = engine.run(sys.executable, "-m", "three_pillar_demo", "verify", check=False)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    print_figure(completed.stdout.strip().replace("\n", "\n  "))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["checkout", "--card", "gateway-timeout"], "gateway_timeout"),
        (["follow", "--last-error"], "payment"),
        (["traffic", "--rate", "5", "--for", "2s"], "success"),
        (["verify", "--checkouts", "30"], "PASS"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_demo_command_runs_in_a_container(
    project: ComposeProject, command: list[str], expected: str
) -> None:
    """``docker compose run --rm demo`` works like the ``demo`` command on the host."""
    assert project.services
    completed = engine.compose("run", "--rm", "-T", "demo", *command, check=False)
    output = completed.stdout + completed.stderr
    assert expected in completed.stdout, output
    assert "not judged" not in completed.stdout, completed.stdout
    # The exit code of `demo checkout` reports a purchase that failed.
    assert completed.returncode == 0 or command[0] == "checkout", output


def test_traffic_stops_on_request(project: ComposeProject) -> None:
    """The traffic container sends purchases until it is stopped, and then ends without a kill."""
    assert project.services
    engine.compose("--profile", "traffic", "up", "--detach", "--no-deps", "traffic")
    count_before = sum(asyncio.run(_read_counters()).values())
    _wait_until(
        lambda: sum(asyncio.run(_read_counters()).values()) > count_before + 3, "some purchases"
    )
    container = engine.containers()["traffic"]
    engine.compose("--profile", "traffic", "stop", "traffic")
    assert engine.inspect(container)["State"]["ExitCode"] != KILLED
    engine.compose("--profile", "traffic", "rm", "--force", "traffic")


@pytest.mark.parametrize("interruption", ["restart", "kill"])
def test_interrupted_collector_loses_nothing(project: ComposeProject, interruption: str) -> None:
    """If the Collector is restarted or killed, each purchase is still found and counted once."""
    assert project.services
    purchases: list[Purchase] = []

    async def record(purchase: Purchase) -> None:
        purchases.append(purchase)

    def interrupt() -> None:
        # There are purchases before, during and after the interruption.
        _wait_until(lambda: len(purchases) >= 15, "the first 15 purchases")
        engine.compose(interruption, "otel-collector")
        if interruption == "kill":
            _wait_until(lambda: len(purchases) >= 30, "purchases without a Collector")
            engine.compose("start", "otel-collector")

    async def buy_and_check() -> None:
        async with LgtmBackends() as backends:
            counters_before = await _stable_counters(backends)
            ledger, _ = await asyncio.gather(fill(60, 5, record), asyncio.to_thread(interrupt))
            assert len(ledger.purchases) == 60, ledger.unanswered
            await _check_pillars(backends, ledger, counters_before)

    asyncio.run(buy_and_check())


def test_memory_stays_below_the_limits(project: ComposeProject, print_figure: PrintFigure) -> None:
    """Every container uses less than 85 % of its memory limit, and the figures are printed."""
    used_mib = Counter[str]()
    for name, container in engine.containers().items():
        if engine.inspect(container)["State"]["Running"]:
            stats = json.loads(
                engine.docker("stats", "--no-stream", "--format", "{{json .}}", container)
            )
            used_mib[name] = round(_mebibytes(stats["MemUsage"].split(" / ")[0]))
            assert float(stats["MemPerc"].rstrip("%")) < 85, name
            assert not engine.inspect(container)["State"]["OOMKilled"], name
    assert used_mib
    note = "" if "grafana" in project.services else ", without Grafana"
    details = ", ".join(f"{name} {size}" for name, size in used_mib.most_common())
    print_figure(f"memory: {sum(used_mib.values())} MiB{note}: {details}")


def test_warm_start(project: ComposeProject, print_figure: PrintFigure) -> None:
    """After a restart on existing volumes, the first purchase is found in all three pillars."""
    earlier = _instances(asyncio.run(_read_counters()))
    engine.compose("down", "--timeout", "15")
    began = time.monotonic()
    start = subprocess.Popen(
        [
            *engine.compose_command(),
            "--project-name",
            engine.PROJECT,
            "up",
            "--detach",
            *project.services,
        ],
        cwd=engine.ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ledger = Ledger()
    _wait_until(lambda: asyncio.run(_buy_once(ledger)), "the first purchase", seconds=120)
    answered_after = time.monotonic() - began
    asyncio.run(_find_first_purchase(ledger, earlier))
    verified_after = time.monotonic() - began
    assert start.wait(timeout=120) == 0
    print_figure(
        f"warm start: first answer after {answered_after:.1f} s, "
        f"verified in all three pillars after {verified_after:.1f} s"
    )


async def _find_first_purchase(ledger: Ledger, earlier_instances: set[str]) -> None:
    """Wait until the only purchase of ``ledger`` is in traces, logs and metrics.

    ``earlier_instances`` are the service instances from before the restart.
    """
    async with LgtmBackends() as backends:

        async def all_answer() -> bool:
            try:
                await backends.promql("vector(1)")
                await backends.trace(ledger.purchases[0].trace_id)
                await backends.logs(ledger.started, time.time(), limit=1)
            except BackendError:  # A backend is still starting.
                return False
            return True

        async def is_counted() -> bool:
            return bool(_instances(await read_counters(backends)) - earlier_instances)

        assert await poll_until(all_answer), "the backends did not answer"
        await _check_pillars(backends, ledger, {}, metrics=False)
        assert await poll_until(is_counted), "the purchase was not counted"


def test_containers_stop_in_time(project: ComposeProject, print_figure: PrintFigure) -> None:
    """All containers but Tempo end within their grace period, and no purchase is lost."""
    project.up()
    ledger = asyncio.run(fill(20, 20, _ignore))
    began = time.monotonic()
    engine.compose("stop")
    duration = time.monotonic() - began
    exit_codes = {
        name: engine.inspect(container)["State"]["ExitCode"]
        for name, container in engine.containers().items()
    }
    print_figure(f"stopped after {duration:.1f} s: {exit_codes}")
    assert {name for name, code in exit_codes.items() if code == KILLED} <= IGNORES_SIGTERM
    project.up()

    async def check() -> None:
        async with LgtmBackends() as backends:
            await _check_pillars(backends, ledger, {}, metrics=False)

    asyncio.run(check())


async def _ignore(_purchase: Purchase) -> None:
    pass


async def _read_counters() -> Counters:
    async with LgtmBackends() as backends:
        return await read_counters(backends)


async def _stable_counters(backends: Backends) -> Counters:
    """Wait until the request counters do not change for 3 s, and return them."""
    counters: Counters = {}

    async def is_stable() -> bool:
        counters.clear()
        counters.update(await read_counters(backends))
        await asyncio.sleep(3)  # Longer than the export interval of the services.
        return counters == await read_counters(backends)

    assert await poll_until(is_stable), "the counters never stopped changing"
    return counters


def _instances(counters: Counters) -> set[str]:
    """Return the service instance ids in ``counters``, including those of earlier starts."""
    return {instance for _, _, instance in counters}


async def _buy_once(ledger: Ledger) -> bool:
    async with checkout_client.client() as http:
        try:
            purchase = await checkout_client.buy(http)
        except checkout_client.CheckoutError:
            return False
    ledger.purchases.append(purchase)
    return True


async def _check_pillars(
    backends: Backends, ledger: Ledger, before: Counters, *, metrics: bool = True
) -> None:
    traces = await check_traces(backends, ledger)
    assert traces.passed, traces.problems
    logs, other_requests = await check_logs(backends, ledger)
    assert logs.passed, logs.problems
    if metrics:
        counts = await check_metrics(backends, ledger, before, other_requests)
        assert counts.passed, counts.problems


def _wait_until(condition: Callable[[], bool], description: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {description}"
        time.sleep(POLL_INTERVAL_S)


def _mebibytes(size: str) -> float:
    for unit, factor in (("KiB", 1 / 1024), ("MiB", 1.0), ("GiB", 1024.0), ("B", 1 / 2**20)):
        if size.endswith(unit):
            return float(size.removesuffix(unit)) * factor
    raise ValueError(size)
