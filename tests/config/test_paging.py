"""An alert that fires reaches somebody: real Prometheus, real Alertmanager, the page; no Tempo, no Loki, no Collector."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest
import yaml

from tests.stubs.running import free_port, until
from three_pillar_demo.stack import binaries
from three_pillar_demo.stack.binaries import ALERTMANAGER, PROMETHEUS, Binary

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]
WAIT_SECONDS = 120.0
"""Rules are evaluated every 15 s, a ticket is gathered for 30 s; the rest is for machines that are busy."""
RULES = """
groups:
  - name: tried
    rules:
      - {alert: Woken, expr: "broken > 0", labels: {severity: page, slo: tried}, annotations: {summary: Somebody is woken}}
      - {alert: SameButSlow, expr: "broken > 0", labels: {severity: ticket, slo: tried}}
      - {alert: Another, expr: "broken > 0", labels: {severity: ticket}, annotations: {summary: It can wait}}
"""
CONFIGS = ("prometheus.yml", "config/alertmanager.yml")


def executable(binary: Binary, log: Path) -> Path:
    """Found, or built."""
    found = binaries.find(binary)
    return found[0] if found else binaries.build(binary, log, lambda _step: None)


@contextmanager
def running(*command: object, folder: Path, **env: str) -> Iterator[None]:
    """A process, from its start to its end."""
    name = Path(str(command[0])).name
    with (folder / f"{name}.log").open("w") as out:
        process = subprocess.Popen(
            [str(part) for part in command], cwd=folder, env=env, stdout=out, stderr=out
        )
        try:
            yield
            assert process.poll() is None, (folder / f"{name}.log").read_text()[-2000:]
        finally:
            process.kill()
            process.wait()


class House:
    """Prometheus, Alertmanager and the page on ports of their own, with the house's own files but for rules and addresses."""

    def __init__(self, folder: Path) -> None:
        """Write what differs."""
        self.folder = folder
        self.prometheus, self.alertmanager, self.page = free_port(), free_port(), free_port()
        shutil.copytree(ROOT / "config" / "targets", folder / "config" / "targets")
        for name in CONFIGS:
            shutil.copy(ROOT / name, folder / name)
        (folder / "config" / "alerts.yml").write_text(RULES)
        for file, before, after in (
            ("alertmanager.yml", 9093, self.alertmanager),
            ("alert_webhook.url", 8080, self.page),
        ):
            path = folder / "config" / "targets" / file
            text = path.read_text()
            assert str(before) in text
            path.write_text(text.replace(str(before), str(after)))
        self.ports = [self.prometheus, self.alertmanager, self.page]

    @contextmanager
    def open(self) -> Iterator[None]:
        """Start all three, from what the launcher starts them with."""
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "DEMO_STATE": str(self.folder / "state"),
        }
        console = {"PYTHONPATH": str(ROOT), "WEB_PORT": str(self.page)}
        with ExitStack() as running_here:
            start = running_here.enter_context
            start(
                running(
                    sys.executable,
                    "-m",
                    "three_pillar_demo.web",
                    folder=self.folder,
                    **env,
                    **console,
                )
            )
            for binary, port, options in (
                (
                    ALERTMANAGER,
                    self.alertmanager,
                    ["--cluster.listen-address=", "--storage.path=alertmanager"],
                ),
                (
                    PROMETHEUS,
                    self.prometheus,
                    ["--web.enable-otlp-receiver", "--storage.tsdb.path=prometheus"],
                ),
            ):
                config = "prometheus.yml" if binary is PROMETHEUS else "config/alertmanager.yml"
                command = (
                    executable(binary, self.folder / "build.log"),
                    f"--config.file={config}",
                    f"--web.listen-address=127.0.0.1:{port}",
                    *options,
                )
                start(running(*command, folder=self.folder, **env))
            until(lambda: all(map(_listens, self.ports)), "all three to listen")
            yield

    def tell(self, broken: int) -> None:
        """Send the figure that the rules look at."""
        point = {"timeUnixNano": str(time.time_ns()), "asDouble": broken}
        metric = {"name": "broken", "gauge": {"dataPoints": [point]}}
        said = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}
        httpx2.post(
            f"http://127.0.0.1:{self.prometheus}/api/v1/otlp/v1/metrics", json=said, trust_env=False
        ).raise_for_status()

    def shows(self, *words: str) -> bool:
        """Whether the page says all of them."""
        text = httpx2.get(f"http://127.0.0.1:{self.page}/", trust_env=False, timeout=20).text
        return all(word in text for word in words)

    def held_back(self) -> set[str]:
        """The alerts that fire and that Alertmanager tells nobody about."""
        alerts = httpx2.get(
            f"http://127.0.0.1:{self.alertmanager}/api/v2/alerts", trust_env=False, timeout=20
        ).json()
        return {
            each["labels"]["alertname"]
            for each in alerts
            if each["status"]["state"] == "suppressed"
        }


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """All three, running."""
    house = House(tmp_path)
    with house.open():
        yield house


@pytest.mark.full
@pytest.mark.timeout(600)
def test_an_alert_that_fires_reaches_the_page_and_leaves_it(house: House) -> None:
    """A page and a ticket come, a ticket about what pages already is held back, and when it is over nothing rings."""
    assert not house.shows("Woken")

    def tell_until(broken: int, *words: str) -> bool:
        house.tell(
            broken
        )  # again and again, as a service does: a figure is believed for five minutes
        return house.shows(*words)

    both = ("Woken", "Somebody is woken", "Another", "It can wait")
    until(lambda: tell_until(1, *both), "both alerts on the page", WAIT_SECONDS)
    assert house.held_back() == {"SameButSlow"}
    until(
        lambda: not (tell_until(0, "Woken") or house.shows("Another")),
        "nothing to ring",
        2 * WAIT_SECONDS,
    )


def test_the_page_takes_what_is_delivered_in_containers_too() -> None:
    """Where Alertmanager delivers there is what the page answers to, and nothing else is added."""
    delivered = (ROOT / "config/targets/compose/alert_webhook.url").read_text().strip()
    assert delivered == f"http://{COMPOSE['web']['environment']['WEB_HOSTS']}"


@pytest.mark.parametrize("folder", ["config/targets", "config/targets/compose"])
def test_peers_are_named_where_they_listen(folder: str) -> None:
    """Natively on loopback, in containers by name; the ports are the same, and the files that lead there are mounted."""
    (group,) = yaml.safe_load((ROOT / folder / "alertmanager.yml").read_text())
    url = httpx2.URL((ROOT / folder / "alert_webhook.url").read_text().strip())
    native = folder == "config/targets"
    assert group["targets"] == [f"{'127.0.0.1' if native else 'alertmanager'}:9093"]
    assert (url.host, url.port, url.path) == ("127.0.0.1" if native else "web", 8080, "/alerts")
    for name in ("prometheus", "alertmanager"):
        mounted = dict(volume.split(":")[:2] for volume in COMPOSE[name]["volumes"])
        assert mounted["./config/targets/compose"] == f"/etc/{name}/config/targets"
    assert (
        mounted["./config/alertmanager.yml"]
        == COMPOSE["alertmanager"]["working_dir"] + "/config/alertmanager.yml"
    )
