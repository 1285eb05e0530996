"""Prometheus, Alertmanager and Grafana of the chart have the files and flags of the other modes."""

import configparser
import re
import textwrap
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tests.kubernetes.chart_values import CONFIG, READ, VALUES, WRITE, at
from tests.kubernetes.manifests import (
    FOLDER,
    ROOT,
    Manifest,
    generated_files,
    literals,
    manifests,
    named,
)
from tests.kubernetes.test_chart_values import EQUAL
from three_pillar_demo.stack.components import FULL

CHART = VALUES["prometheus"]
PROMETHEUS = at(CHART, "prometheus.prometheusSpec")
ALERTMANAGER = at(CHART, "alertmanager.alertmanagerSpec")
GRAFANA = CHART["grafana"]
FILES = generated_files("backends")

FLAGS = {
    "--web.enable-otlp-receiver": PROMETHEUS.get("enableOTLPReceiver"),
    "--web.enable-remote-write-receiver": PROMETHEUS.get("enableRemoteWriteReceiver"),
    "--enable-feature=exemplar-storage": PROMETHEUS.get("enableFeatures") == ["exemplar-storage"],
}
"""The flags of Prometheus in the other modes, and whether the values have what stands for them."""


def leaves(content: Manifest, above: str = "") -> set[str]:
    """Return the dotted path of each setting of ``content``."""
    found: set[str] = set()
    for key, value in content.items():
        path = f"{above}{key}"
        found |= leaves(value, f"{path}.") if isinstance(value, dict) else {path}
    return found


def test_every_setting_of_prometheus_is_taken_over() -> None:
    """Each setting of prometheus.yml is compared with the values, but files and addresses."""
    elsewhere = {"rule_files", "alerting.alertmanagers"}
    assert leaves(CONFIG["prometheus"]) == EQUAL["prometheus"].keys() | elsewhere


def test_flags_are_those_of_the_other_modes() -> None:
    """Prometheus receives OTLP and remote write, and keeps exemplars."""
    (component,) = (entry for entry in FULL if entry.name == "prometheus")
    native = {flag for flag in component.command if flag.startswith(("--web.enable", "--enable"))}
    assert native == FLAGS.keys()
    assert all(value is True for value in FLAGS.values()), FLAGS


def test_pushed_samples_arrive_at_one_prometheus() -> None:
    """There is one Prometheus, because its Service would spread what is pushed over several."""
    assert PROMETHEUS["replicas"] == 1


def test_alerts_have_no_further_labels() -> None:
    """Alerts have the labels of the other modes, and no name of a Prometheus or a replica."""
    assert PROMETHEUS["prometheusExternalLabelNameClear"] is True
    assert PROMETHEUS["replicaExternalLabelNameClear"] is True


def test_rules_are_those_of_the_other_modes() -> None:
    """The command in the head passes config/alerts.yml, which becomes a PrometheusRule."""
    head = (FOLDER / "values/prometheus.yaml").read_text().partition("\n\n")[0]
    assert "--set-file alertRules=config/alerts.yml" in head
    rules = Path("config/alerts.yml").read_text()
    (template,) = CHART["extraManifests"]
    assert "{{ .Release.Name }}" in template
    # What Helm does with this template.
    text = template.replace("{{ .Release.Name }}", "prometheus")
    (call,) = re.findall(r"\s*\{\{- required .* \.Values\.alertRules \| nindent 2 \}\}", text)
    manifest = yaml.safe_load(text.replace(call, "\n" + textwrap.indent(rules, "  ")))
    assert manifest["kind"] == "PrometheusRule"
    assert manifest["metadata"]["labels"] == {"release": "prometheus"}
    assert manifest["spec"] == yaml.safe_load(rules)


def test_routes_are_those_of_the_other_modes() -> None:
    """Alertmanager has config/alertmanager.yml, in the Secret that the values name."""
    assert ALERTMANAGER["useExistingSecret"] is True
    secret = FILES[ALERTMANAGER["configSecret"]]
    assert secret == {"alertmanager.yaml": ROOT / "config/alertmanager.yml"}


def test_alerts_arrive_at_the_web_ui() -> None:
    """Alertmanager finds the address of the web UI where its configuration looks for it."""
    (volume,) = ALERTMANAGER["volumes"]
    (item,) = volume["configMap"]["items"]
    (mount,) = ALERTMANAGER["volumeMounts"]
    (container,) = ALERTMANAGER["containers"]
    config = yaml.safe_load(Path("config/alertmanager.yml").read_text())
    (receiver,) = config["receivers"]
    assert receiver["webhook_configs"] == [{"url_file": item["path"]}]
    assert container == {"name": "alertmanager", "workingDir": mount["mountPath"]}
    address = literals("backends")[volume["configMap"]["name"]][item["key"]]
    native = urlsplit((ROOT / "config/targets/alert_webhook.url").read_text().strip())
    web = named("Service", manifests("base"))[str(native.hostname)]
    (port,) = web["spec"]["ports"]
    host = f"{native.hostname}.three-pillar-demo.svc:{port['port']}"
    assert address == native._replace(netloc=host).geturl()


def test_prometheus_finds_every_alertmanager_without_a_token() -> None:
    """Prometheus finds all processes of Alertmanager by DNS, on the port that large/ reads."""
    assert PROMETHEUS["disableAlerting"] is True  # What the chart would add needs a token.
    target = {"names": ["alertmanager-operated.backends.svc"], "type": "A"}
    lookup = {"dns_sd_configs": [{**target, "port": int(READ["ALERTMANAGER_PORT"])}]}
    assert PROMETHEUS["additionalAlertManagerConfigs"] == [lookup]
    assert ALERTMANAGER["replicas"] == 2
    assert at(CHART, "alertmanager.podDisruptionBudget.enabled") is True


def mounted() -> dict[str, Path]:
    """Return the repository's file for each path that the values mount in Grafana."""
    return {
        f"{mount['mountPath']}/{key}": file
        for mount in GRAFANA["extraConfigmapMounts"]
        for key, file in FILES[mount["configMap"]].items()
    }


def test_grafana_has_all_data_sources_and_dashboards() -> None:
    """Grafana has every dashboard and data source of the repository, also a new one."""
    folder = ROOT / "grafana"
    dashboards = GRAFANA["env"]["GRAFANA_DASHBOARDS"]
    expected = {f"{dashboards}/{file.name}": file for file in folder.glob("dashboards/*.json")}
    for file in folder.glob("provisioning/*/*.yaml"):
        expected[f"/etc/grafana/{file.relative_to(folder)}"] = file
    assert mounted() == expected
    home = at(GRAFANA["grafana.ini"], "dashboards.default_home_dashboard_path")
    assert home in mounted()


def test_data_sources_lead_to_the_backends_of_large() -> None:
    """Each variable of the data sources is set, to the host and port that the web UI reads."""
    files = [file for file in mounted().values() if file.suffix == ".yaml"]
    text = "\n".join(re.sub(r"(?m)#.*$", "", file.read_text()) for file in files)
    names = set(re.findall(r"(?<!\$)\$\{?([A-Z][A-Z_]+)", text))
    assert names == GRAFANA["env"].keys()
    hosts = {name: value for name, value in GRAFANA["env"].items() if name in READ}
    assert hosts == {name: READ[name] for name in names - {"GRAFANA_DASHBOARDS"}}


def test_grafana_is_configured_as_in_the_other_modes_except_for_its_login() -> None:
    """Grafana has the sections of grafana.ini, except that people log in."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read("grafana/grafana.ini")
    native = {name: dict(parser[name]) for name in parser.sections()}
    for section in ("server", "security", "auth", "auth.anonymous", "auth.basic", "dashboards"):
        del native[section]
    chart = {
        name: {key: str(value).lower() for key, value in section.items()}
        for name, section in GRAFANA["grafana.ini"].items()
        if name != "dashboards"
    }
    assert chart == native


def test_hosts_of_large_are_the_services_of_the_chart() -> None:
    """The hosts and ports of large/ are those that the chart gives its Services."""
    name = CHART["fullnameOverride"]
    assert WRITE["PROMETHEUS_HOST"] == READ["PROMETHEUS_HOST"] == f"{name}-prometheus.backends.svc"
    assert READ["ALERTMANAGER_HOST"] == f"{name}-alertmanager.backends.svc"
    assert READ["GRAFANA_HOST"] == f"{GRAFANA['fullnameOverride']}.backends.svc"
    assert str(GRAFANA["service"]["port"]) == READ["GRAFANA_PORT"]


@pytest.mark.parametrize(
    "path",
    [
        "prometheus.serviceAccount",
        "prometheus.prometheusSpec",
        "alertmanager.serviceAccount",
        "alertmanager.alertmanagerSpec",
        "grafana",
        "grafana.serviceAccount",
    ],
)
def test_only_the_operator_has_a_token(path: str) -> None:
    """Prometheus, Alertmanager and Grafana get no token for the API server."""
    assert at(CHART, path)["automountServiceAccountToken"] is False


@pytest.mark.parametrize("sidecar", ["dashboards", "datasources"])
def test_grafana_has_no_sidecar_that_reads_the_api_server(sidecar: str) -> None:
    """Grafana's files are mounted, so no sidecar needs a token and a role."""
    assert at(GRAFANA, f"sidecar.{sidecar}.enabled") is False
    assert at(GRAFANA, "rbac.create") is False


def test_no_password_is_in_a_file() -> None:
    """The administrator of Grafana is in a Secret that nobody commits."""
    assert GRAFANA["admin"] == {"existingSecret": "grafana-admin"}
    assert "adminPassword" not in GRAFANA
    names = {manifest["kind"] for manifest in manifests("backends")}
    assert "Secret" not in names


@pytest.mark.parametrize(
    "path",
    [
        "defaultRules.create",
        "kubernetesServiceMonitors.enabled",
        "kubeStateMetrics.enabled",
        "nodeExporter.enabled",
        "grafana.defaultDashboardsEnabled",
        "grafana.testFramework.enabled",
        "prometheusOperator.admissionWebhooks.enabled",
        "prometheusOperator.kubeletService.enabled",
    ],
)
def test_nothing_runs_that_nobody_reads(path: str) -> None:
    """What the chart brings for other purposes is off."""
    assert at(CHART, path) is False
