"""A firing alert reaches the web UI through a real Prometheus and a real Alertmanager."""

import os
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

from tests.binaries import executable
from tests.private_ports import free_port
from tests.stubs.running import wait_until
from three_pillar_demo.stack import native_config
from three_pillar_demo.stack.binaries import ALERTMANAGER, PROMETHEUS

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]
TIMEOUT_S = 120.0
"""How long to wait for an alert, in seconds: rules are evaluated every 15 s, and Alertmanager
delays a ticket by 30 s."""
RULES = """
groups:
  - name: tried
    rules:
      - alert: Urgent
        expr: broken > 0
        labels: {severity: page, slo: tried}
        annotations: {summary: This is urgent}
      - alert: SameButSlow
        expr: broken > 0
        labels: {severity: ticket, slo: tried}
      - alert: LowPriority
        expr: broken > 0
        labels: {severity: ticket}
        annotations: {summary: It can wait}
"""


@contextmanager
def running(command: list[object], folder: Path, env: dict[str, str]) -> Iterator[None]:
    """Run a process in ``folder`` until the end of the block; fail the test if it ends earlier."""
    log = folder / f"{Path(str(command[0])).name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(argument) for argument in command],
            cwd=folder,
            env=env,
            stdout=output,
            stderr=output,
        )
        try:
            yield
            assert process.poll() is None, log.read_text()[-2000:]
        finally:
            process.kill()
            process.wait()


class AlertingStack:
    """Prometheus, Alertmanager and the web UI with the project's configuration, on free ports."""

    def __init__(self, folder: Path) -> None:
        """Copy the configuration into ``folder``, with other ports and the rules in ``RULES``."""
        self.folder = folder
        self.prometheus_port = free_port()
        self.alertmanager_port = free_port()
        self.web_port = free_port()
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("ALERTMANAGER_PORT", str(self.alertmanager_port))
            environment.setenv("WEB_PORT", str(self.web_port))
            native_config.write(folder)
        (folder / "config" / "alerts.yml").write_text(RULES)

    @contextmanager
    def run(self) -> Iterator[None]:
        """Run the three processes until the end of the block."""
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "DEMO_STATE": str(self.folder / "state"),
        }
        web_env = env | {"PYTHONPATH": str(ROOT), "WEB_PORT": str(self.web_port)}
        web: list[object] = [sys.executable, "-m", "three_pillar_demo.web"]
        alertmanager = [
            executable(ALERTMANAGER),
            "--config.file=config/alertmanager.yml",
            f"--web.listen-address=127.0.0.1:{self.alertmanager_port}",
            "--cluster.listen-address=",
            "--storage.path=alertmanager",
        ]
        prometheus = [
            executable(PROMETHEUS),
            "--config.file=prometheus.yml",
            f"--web.listen-address=127.0.0.1:{self.prometheus_port}",
            "--web.enable-otlp-receiver",
            "--storage.tsdb.path=prometheus",
        ]
        ports = [self.web_port, self.alertmanager_port, self.prometheus_port]
        with ExitStack() as processes:
            processes.enter_context(running(web, self.folder, web_env))
            processes.enter_context(running([*alertmanager], self.folder, env))
            processes.enter_context(running([*prometheus], self.folder, env))
            wait_until(lambda: all(map(_accepts_connections, ports)), "all three to listen")
            yield

    def send_metric(self, value: int) -> None:
        """Send a value of the gauge ``broken`` to Prometheus; above 0, the alerts fire."""
        point = {"timeUnixNano": str(time.time_ns()), "asDouble": value}
        metric = {"name": "broken", "gauge": {"dataPoints": [point]}}
        request = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}
        httpx2.post(
            f"http://127.0.0.1:{self.prometheus_port}/api/v1/otlp/v1/metrics",
            json=request,
            trust_env=False,
        ).raise_for_status()

    def web_ui_shows(self, *texts: str) -> bool:
        """Return whether the front page of the web UI contains all ``texts``."""
        url = f"http://127.0.0.1:{self.web_port}/"
        page = httpx2.get(url, trust_env=False, timeout=20).text
        return all(text in page for text in texts)

    def inhibited_alerts(self) -> set[str]:
        """Return the names of firing alerts that Alertmanager suppresses because of another one."""
        url = f"http://127.0.0.1:{self.alertmanager_port}/api/v2/alerts"
        alerts = httpx2.get(url, trust_env=False, timeout=20).json()
        return {
            alert["labels"]["alertname"]
            for alert in alerts
            if alert["status"]["state"] == "suppressed"
        }


def _accepts_connections(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def alerting_stack(tmp_path: Path) -> Iterator[AlertingStack]:
    """Prometheus, Alertmanager and the web UI, running."""
    stack = AlertingStack(tmp_path)
    with stack.run():
        yield stack


@pytest.mark.full
@pytest.mark.timeout(600)
def test_firing_alert_appears_and_resolved_alert_disappears(alerting_stack: AlertingStack) -> None:
    """The web UI shows all firing alerts but an inhibited one, and none once they are resolved."""
    stack = alerting_stack
    assert not stack.web_ui_shows("Urgent")

    def shows_while_sending(value: int, *texts: str) -> bool:
        # A service exports repeatedly too, and Prometheus uses a sample for five minutes only.
        stack.send_metric(value)
        return stack.web_ui_shows(*texts)

    texts = ("Urgent", "This is urgent", "LowPriority", "It can wait")
    wait_until(lambda: shows_while_sending(1, *texts), "both alerts on the page", TIMEOUT_S)
    assert stack.inhibited_alerts() == {"SameButSlow"}
    wait_until(
        lambda: not (shows_while_sending(0, "Urgent") or stack.web_ui_shows("LowPriority")),
        "no alert on the page",
        2 * TIMEOUT_S,
    )


def test_web_ui_in_a_container_accepts_the_webhook_only() -> None:
    """The web UI's container accepts its service name only in the URL of the alert webhook."""
    url = (ROOT / "config/targets/alert_webhook.url").read_text().strip()
    container_name, *names_on_host = COMPOSE["web"]["environment"]["WEB_HOSTS"].split(",")
    assert url == f"http://{container_name}"
    published = "${WEB_PORT:-8080}"
    assert names_on_host == [f"127.0.0.1:{published}", f"localhost:{published}"]


def test_target_files_have_the_addresses_of_containers() -> None:
    """Target files contain the names of the containers, which mount the folder."""
    (group,) = yaml.safe_load((ROOT / "config/targets/alertmanager.yml").read_text())
    url = httpx2.URL((ROOT / "config/targets/alert_webhook.url").read_text().strip())
    assert group["targets"] == ["alertmanager:9093"]
    assert (url.host, url.port, url.path) == ("web", 8080, "/alerts")
    for name in ("prometheus", "alertmanager"):
        mounted = dict(volume.split(":")[:2] for volume in COMPOSE[name]["volumes"])
        assert mounted["./config/targets"] == f"/etc/{name}/config/targets"
    # Alertmanager resolves the path of the webhook file against its working folder.
    assert (
        mounted["./config/alertmanager.yml"]
        == COMPOSE["alertmanager"]["working_dir"] + "/config/alertmanager.yml"
    )
