"""The compose file on a real engine: it starts, it is locked down, it correlates, it loses nothing, it stops in time."""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.compose import engine, standins
from tests.compose.conftest import House
from three_pillar_demo.load import checkout_client
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.interface import BackendError, Backends
from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.verify import checks
from three_pillar_demo.verify.ledger import Ledger, fill

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]
POLL_SECONDS = 0.1
KILLED = 137
NEVER_ENDS = {"tempo"}
"""Once it has answered a query it ignores SIGTERM (see tempo in docker-compose.yaml)."""

PACKAGES = """
import importlib.metadata, sys
for each in importlib.metadata.distributions(path=[path for path in sys.path if path.startswith("/venv")]):
    print(each.name.lower())
"""
"""Lists what is installed in the image's own environment."""

Tell = Callable[[str], None]


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Print a figure to the terminal, whatever pytest captures."""

    def say(line: str) -> None:
        with capsys.disabled():
            print(f"\n  {line}", flush=True)  # noqa: T201  (the figures are what the run is for)

    return say


def test_it_starts(house: House, tell: Tell) -> None:
    """Everything with a health check is healthy, the helper has ended well, and the rest runs."""
    for name, how in house.images.items():
        tell(f"{name}: {how}")
    for name, container in engine.containers().items():
        state = engine.inspect(container)["State"]
        if name == "otel-collector-init":
            assert (state["Status"], state["ExitCode"]) == ("exited", 0)
        else:
            assert (state["Status"], state.get("Health", {}).get("Status", "healthy")) == (
                "running",
                "healthy",
            ), name
    assert engine.containers().keys() == set(house.services)


def test_our_image_has_no_tools_inside(house: House, tell: Tell) -> None:
    """It runs as a user, holds the services and the demo, and neither pip nor a build or test tool."""
    image = engine.inspect(engine.OURS, "image")
    base = engine.inspect(standins.base_image(), "image")
    assert image["Config"]["User"] == "10001:10001"
    packages = engine.docker(
        "run", "--rm", "--network", "none", engine.OURS, "python", "-c", PACKAGES
    ).split()
    assert "three-pillar-demo" in packages
    assert not {"pip", "setuptools", "hatchling", "pytest", "mypy", "ruff"} & set(packages)
    base_pip = (
        "/usr/local/bin/python",
        "-c",
        "import importlib.util; print(importlib.util.find_spec('pip'))",
    )
    assert engine.docker("run", "--rm", "--network", "none", engine.OURS, *base_pip) == "None"
    tell(
        f"our image adds {(image['Size'] - base['Size']) / 2**20:.0f} MiB to its base, {len(packages)} packages"
    )
    assert house.images[standins.base_image()] in {"official", "stand-in"}


def test_containers_are_locked_down(house: House) -> None:
    """The engine enforces what the file says: no root process, read-only, no capability, limits, ports on loopback."""
    for name in house.services:
        container = engine.inspect(engine.containers()[name])
        host = container["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert host["Memory"] > 0, name
        assert host["NanoCpus"] > 0, name
        assert host["PidsLimit"] > 0, name
        bound = [
            each["HostIp"]
            for port in container["NetworkSettings"]["Ports"].values()
            for each in port or []
        ]
        assert set(bound) <= {"127.0.0.1"}, name
        if container["State"]["Running"]:
            _, *processes = engine.docker("top", container["Id"], "-eo", "pid,uid").splitlines()
            assert processes
            assert "0" not in {each.split()[1] for each in processes}, name


def test_verify_from_the_host(house: House, tell: Tell) -> None:
    """``demo verify`` finds every purchase whole in all three pillars, through the published ports."""
    assert house.services
    done = engine.run(sys.executable, "-m", "three_pillar_demo", "verify", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tell(done.stdout.strip().replace("\n", "\n  "))


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["checkout", "--card", "gateway-timeout"], "gateway_timeout"),
        (["follow", "--last-error"], "payment"),
        (["traffic", "--rate", "5", "--for", "2s"], "success"),
        (["verify", "--checkouts", "30"], "PASS"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_the_tools_need_no_python(house: House, command: list[str], says: str) -> None:
    """``docker compose run --rm demo ...`` does what the demo command does on the host."""
    assert house.services
    done = engine.compose("run", "--rm", "-T", "demo", *command, check=False)
    assert says in done.stdout, done.stdout + done.stderr
    assert "not judged" not in done.stdout, done.stdout
    # A purchase that failed is the shop's answer, told by the exit code.
    assert done.returncode == 0 or command[0] == "checkout", done.stdout + done.stderr


def test_customers_come_and_go(house: House) -> None:
    """The customers of the other profile buy until they are told to stop, and then end by themselves."""
    assert house.services
    engine.compose("--profile", "traffic", "up", "--detach", "--no-deps", "traffic")
    before = sum(asyncio.run(_counts()).values())
    _wait_until(lambda: sum(asyncio.run(_counts()).values()) > before + 3, "customers to buy")
    customers = engine.containers()["traffic"]
    engine.compose("--profile", "traffic", "stop", "traffic")
    assert engine.inspect(customers)["State"]["ExitCode"] != KILLED
    engine.compose("--profile", "traffic", "rm", "--force", "traffic")


@pytest.mark.parametrize("way", ["restart", "kill"])
def test_a_collector_that_goes_away_loses_nothing(house: House, way: str) -> None:
    """With the Collector restarted, or killed and started, in the middle of purchases, each is found whole and counted once."""
    assert house.services

    async def prove() -> None:
        async with LgtmBackends() as backends:
            before: checks.Counts = {}

            async def still() -> bool:
                before.clear()
                before.update(await checks.counts(backends))
                await asyncio.sleep(3)  # longer than services take to send their counters
                return before == await checks.counts(backends)

            assert await checks.poll_until(still), "the counters never stood still"
            ledger, _ = await asyncio.gather(fill(60, 5, remember), asyncio.to_thread(away))
            assert len(ledger.purchases) == 60, ledger.unanswered
            await _whole(backends, ledger, before)

    bought: list[Purchase] = []

    async def remember(purchase: Purchase) -> None:
        bought.append(purchase)

    def away() -> None:
        # There are purchases before, during and after.
        _wait_until(lambda: len(bought) >= 15, "the first 15 purchases")
        engine.compose(way, "otel-collector")
        if way == "kill":
            _wait_until(lambda: len(bought) >= 30, "purchases without a Collector")
            engine.compose("start", "otel-collector")

    asyncio.run(prove())


def test_memory(house: House, tell: Tell) -> None:
    """No container has grown near its limit; prints what each takes."""
    used = Counter[str]()
    for name, container in engine.containers().items():
        if engine.inspect(container)["State"]["Running"]:
            told = json.loads(
                engine.docker("stats", "--no-stream", "--format", "{{json .}}", container)
            )
            used[name] = round(_mebibytes(told["MemUsage"].split(" / ")[0]))
            assert float(told["MemPerc"].rstrip("%")) < 85, name
            assert not engine.inspect(container)["State"]["OOMKilled"]
    assert used
    without = "" if "grafana" in house.services else ", without Grafana"
    tell(
        f"memory: {sum(used.values())} MiB{without}: "
        + ", ".join(f"{name} {size}" for name, size in used.most_common())
    )


def test_warm_start(house: House, tell: Tell) -> None:
    """Started again on its volumes, the first purchase is soon found in all three pillars; prints how soon."""
    earlier = _instances(asyncio.run(_counts()))
    engine.compose("down", "--timeout", "15")
    began = time.monotonic()
    up = subprocess.Popen(
        [
            *engine.compose_command(),
            "--project-name",
            engine.PROJECT,
            "up",
            "--detach",
            *house.services,
        ],
        cwd=engine.ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ledger = Ledger()
    _wait_until(lambda: asyncio.run(_buy_once(ledger)), "the first purchase", seconds=120)
    answered = time.monotonic() - began

    async def found() -> None:
        async with LgtmBackends() as backends:

            async def ready() -> bool:
                try:
                    await backends.promql("vector(1)")
                    await backends.trace(ledger.purchases[0].trace_id)
                    await backends.logs(ledger.started, time.time(), limit=1)
                except BackendError:  # not up yet: asked again
                    return False
                return True

            assert await checks.poll_until(ready), "the backends did not answer"
            await _whole(backends, ledger, {}, counted=False)

            async def counted() -> bool:
                return bool(_instances(await checks.counts(backends)) - earlier)

            assert await checks.poll_until(counted), "the purchase was not counted"

    asyncio.run(found())
    verified = time.monotonic() - began
    assert up.wait(timeout=120) == 0
    tell(
        f"warm start: first answer after {answered:.1f} s, verified in all three pillars after {verified:.1f} s"
    )


def test_stops_in_time(house: House, tell: Tell) -> None:
    """All but Tempo end by themselves within their grace period, and what was bought before is there after the next start."""
    house.up()
    ledger = asyncio.run(fill(20, 20, _ignore))
    began = time.monotonic()
    engine.compose("stop")
    took = time.monotonic() - began
    codes = {
        name: engine.inspect(container)["State"]["ExitCode"]
        for name, container in engine.containers().items()
    }
    tell(f"stopped after {took:.1f} s: {codes}")
    assert {name for name, code in codes.items() if code == KILLED} <= NEVER_ENDS
    house.up()

    async def prove() -> None:
        async with LgtmBackends() as backends:
            await _whole(backends, ledger, {}, counted=False)

    asyncio.run(prove())


async def _ignore(_purchase: Purchase) -> None:
    pass


async def _counts() -> checks.Counts:
    async with LgtmBackends() as backends:
        return await checks.counts(backends)


def _instances(counts: checks.Counts) -> set[str]:
    """The processes that have counted something; those of an earlier start linger for some minutes."""
    return {instance for _, _, instance in counts}


async def _buy_once(ledger: Ledger) -> bool:
    async with checkout_client.client() as http:
        try:
            bought = await checkout_client.buy(http)
        except checkout_client.ShopError:
            return False
    ledger.purchases.append(bought)
    return True


async def _whole(
    backends: Backends, ledger: Ledger, before: checks.Counts, *, counted: bool = True
) -> None:
    in_traces = await checks.traces(backends, ledger)
    assert in_traces.passed, in_traces.missing
    in_logs, others = await checks.logs(backends, ledger)
    assert in_logs.passed, in_logs.missing
    if counted:
        in_metrics = await checks.metrics(backends, ledger, before, others)
        assert in_metrics.passed, in_metrics.missing


def _wait_until(done: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(POLL_SECONDS)


def _mebibytes(said: str) -> float:
    for unit, factor in (("KiB", 1 / 1024), ("MiB", 1.0), ("GiB", 1024.0), ("B", 1 / 2**20)):
        if said.endswith(unit):
            return float(said.removesuffix(unit)) * factor
    raise ValueError(said)
