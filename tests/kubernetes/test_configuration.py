"""The ConfigMaps are the repository's files, and their hosts, ports and shares agree."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from services.common.tail_sampling import TailSamplingSettings
from tests.kubernetes.manifests import (
    FOLDER,
    OVERLAYS,
    ROOT,
    environment,
    generated_files,
    kustomization,
    literals,
    main_container,
    manifests,
    mounted_files,
    named,
    workloads,
)
from three_pillar_demo.stack import ports

OBJECTS = manifests("base", "small")
WORKLOADS = workloads(OBJECTS)
SERVICES = named("Service", OBJECTS)
FILES = generated_files("base", "small")
VARIABLES = literals("base", "small")
DEFAULTS = {port.variable: port.default for port in ports.ALL}
COLLECTORS = ("agent", "gateway")


def test_no_file_is_copied() -> None:
    """Each file of a ConfigMap is one that the other modes use, outside of deploy/kubernetes."""
    for files in (*FILES.values(), *generated_files("backends").values()):
        for key, file in files.items():
            assert file.is_file()
            assert file.name in {key, key.replace(".yaml", ".yml"), ".gitkeep"}
            assert file.is_relative_to(ROOT)
            assert not file.is_relative_to(FOLDER)


@pytest.mark.parametrize("name", COLLECTORS)
def test_collectors_have_the_files_of_their_tier(name: str) -> None:
    """Both tiers of Collectors have otel-collector.yaml, and the file of their own tier."""
    assert mounted_files(WORKLOADS[name], FILES) == {
        "/etc/otelcol/otel-collector.yaml": ROOT / "otel-collector.yaml",
        f"/etc/otelcol/{name}.yaml": ROOT / f"deploy/collector/{name}.yaml",
    }


@pytest.mark.parametrize("name", ["prometheus", "alertmanager"])
def test_relative_paths_lead_to_files(name: str) -> None:
    """Prometheus and Alertmanager find their further files where they are in the repository."""
    mounted = mounted_files(WORKLOADS[name], FILES)
    folder = f"/etc/{name}"
    for path, file in mounted.items():
        assert path == f"{folder}/{file.relative_to(ROOT)}"
    working_folder = main_container(WORKLOADS[name]).get("workingDir", folder)
    assert working_folder == folder
    texts = "\n".join(re.sub(r"#.*", "", file.read_text()) for file in mounted.values())
    further = re.findall(r"\bconfig/[\w./]*\w", texts)
    assert further
    assert {f"{folder}/{path}" for path in further} <= mounted.keys()


def test_grafana_has_all_its_files() -> None:
    """Grafana has every dashboard and every file of its provisioning, also a new one."""
    mounted = mounted_files(WORKLOADS["grafana"], FILES)
    folder = ROOT / "grafana"
    expected = [folder / "grafana.ini", *(folder / "dashboards").glob("*.json")]
    expected += [file for file in (folder / "provisioning").rglob("*") if file.is_file()]
    assert mounted == {f"/etc/grafana/{file.relative_to(folder)}": file for file in expected}


def test_grafana_has_the_variables_of_its_files() -> None:
    """Each variable in Grafana's files is set in its container, and its dashboards are there."""
    variables = environment(main_container(WORKLOADS["grafana"]), VARIABLES)
    mounted = mounted_files(WORKLOADS["grafana"], FILES)
    for path, file in mounted.items():
        if file.suffix == ".json":
            assert path.startswith(f"{variables['GRAFANA_DASHBOARDS']}/")
            continue
        text = re.sub(r"(?m)^\s*[#;].*$", "", file.read_text())
        assert set(re.findall(r"(?<!\$)\$\{?([A-Z][A-Z_]+)", text)) <= variables.keys()


@pytest.mark.parametrize("name", SERVICES)
def test_services_lead_to_ports_of_their_pods(name: str) -> None:
    """A Service selects the pods of one workload, on ports that these have under the same name."""
    spec = SERVICES[name]["spec"]
    workload = WORKLOADS[spec["selector"]["app.kubernetes.io/name"]]
    numbers = {port["name"]: port["containerPort"] for port in main_container(workload)["ports"]}
    for port in spec["ports"]:
        assert port["targetPort"] == port["name"]
        assert port["port"] == numbers[port["name"]]
        assert port["port"] in DEFAULTS.values()


def is_served(host: str, port: int) -> bool:
    """Return whether a Service ``host`` has ``port``."""
    return port in {entry["port"] for entry in SERVICES[host]["spec"]["ports"]}


def test_hosts_and_ports_are_those_of_services() -> None:
    """In small/, each pair of NAME_HOST and NAME_PORT is a port of an existing Service."""
    for name in ("backends-write", "backends-read"):
        pairs = VARIABLES[name]
        numbers = {variable: pairs[variable] for variable in pairs if variable.endswith("_PORT")}
        assert numbers == {variable: str(DEFAULTS[variable]) for variable in numbers}
        for variable, number in numbers.items():
            host = pairs[f"{variable.partition('_')[0]}_HOST"]
            assert is_served(host, int(number)), variable


def test_addresses_are_those_of_services() -> None:
    """Each address in a variable or in a file is a port of an existing Service."""
    addresses = []
    for workload in WORKLOADS.values():
        variables = environment(main_container(workload), VARIABLES)
        addresses += [
            value for name, value in variables.items() if name.endswith(("_ENDPOINT", "_URL"))
        ]
        addresses += [
            f"http://{name}" for name in variables.get("WEB_HOSTS", "").split(",") if name
        ]
    addresses.append((ROOT / "config/targets/alert_webhook.url").read_text().strip())
    targets = yaml.safe_load((ROOT / "config/targets/alertmanager.yml").read_text())
    addresses += [f"http://{target}" for entry in targets for target in entry["targets"]]
    assert len(addresses) > len(SERVICES) / 2
    for address in addresses:
        url = urlsplit(address)
        assert is_served(str(url.hostname), url.port or 80), address


def test_web_ui_finds_every_component() -> None:
    """The web UI has the host of each component, and that host is a Service."""
    variables = environment(main_container(WORKLOADS["web"]), VARIABLES)
    hosts = {name for name in variables if name.endswith("_HOST")}
    assert hosts == {
        "CHECKOUT_HOST",
        "PAYMENT_HOST",
        "OTEL_COLLECTOR_HOST",
        "TEMPO_HOST",
        "LOKI_HOST",
        "PROMETHEUS_HOST",
        "ALERTMANAGER_HOST",
        "GRAFANA_HOST",
    }
    assert {variables[name] for name in hosts} <= SERVICES.keys()


def test_agents_find_the_gateways() -> None:
    """The agents look up the headless Service of the gateways, on the port of its receiver."""
    variables = environment(main_container(WORKLOADS["agent"]), VARIABLES)
    file = (ROOT / "deploy/collector/agent.yaml").read_text()
    (port,) = re.findall(r"\$\{env:GATEWAYS_PORT:-(\d+)\}", file)
    assert is_served(variables["GATEWAYS_HOST"], int(port))
    assert "GATEWAYS_PORT" not in variables


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("name", COLLECTORS)
def test_collectors_have_every_host_of_their_files(name: str, overlay: str) -> None:
    """A Collector is told the host of every backend to which it writes."""
    variables = environment(main_container(WORKLOADS[name]), literals("base", overlay))
    files = "\n".join(file.read_text() for file in mounted_files(WORKLOADS[name], FILES).values())
    assert set(re.findall(r"\$\{env:([A-Z]+_HOST)\b", files)) <= variables.keys()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_services_and_gateways_have_one_sampling_rule(overlay: str) -> None:
    """Services, gateways and web UI read share, salt and threshold from one ConfigMap."""
    rule = literals("base", overlay)["tail-sampling"]
    assert rule.keys() == {
        TailSamplingSettings.model_config["env_prefix"] + name.upper()
        for name in TailSamplingSettings.model_fields
    }
    file = (ROOT / "deploy/collector/gateway.yaml").read_text()
    assert set(re.findall(r"\$\{env:(TAIL_SAMPLING_\w+)", file)) == rule.keys()
    for name in ("checkout", "payment", "gateway", "web"):
        container = main_container(WORKLOADS[name])
        assert {"configMapRef": {"name": "tail-sampling"}} in container["envFrom"]
        assert not [entry for entry in container["env"] if "SAMPLING" in entry["name"]]


def test_small_keeps_every_trace() -> None:
    """In small/ all traces are kept, because `demo verify` looks for each of them."""
    assert literals("base", "small")["tail-sampling"]["TAIL_SAMPLING_PERCENTAGE"] == "100"
    assert literals("base", "large")["tail-sampling"]["TAIL_SAMPLING_PERCENTAGE"] == "10"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_change_existing_variables_only(overlay: str) -> None:
    """An overlay replaces variables that base has, so that none is without effect."""
    base = literals("base")
    for generator in kustomization(overlay)["configMapGenerator"]:
        if generator.get("behavior") == "merge":
            names = {entry.partition("=")[0] for entry in generator["literals"]}
            assert names <= base[generator["name"]].keys()


def test_the_image_is_the_one_of_the_dockerfile() -> None:
    """The image that large/ takes from a registry is the one that Compose builds."""
    (image,) = kustomization("large")["images"]
    compose = yaml.safe_load(Path("docker-compose.yaml").read_text())["services"]
    assert compose["checkout"]["image"].partition(":")[0] == image["name"]
    assert image.keys() == {"name", "newName"}
