"""The values for the official charts agree with the configuration of the other modes."""

import re
from pathlib import Path

import pytest
import yaml

from tests.kubernetes.chart_values import CONFIG, READ, VALUES, WRITE, at
from tests.kubernetes.manifests import FOLDER
from three_pillar_demo.stack.binaries import ALERTMANAGER, PROMETHEUS
from three_pillar_demo.stack.external_binary import LOKI, TEMPO

EQUAL = {
    "loki": {
        "auth_enabled": "loki.auth_enabled",
        "server.grpc_server_max_recv_msg_size": "loki.server.grpc_server_max_recv_msg_size",
        "server.grpc_server_max_send_msg_size": "loki.server.grpc_server_max_send_msg_size",
        "limits_config": "loki.limits_config",
        "compactor.retention_enabled": "loki.compactor.retention_enabled",
        "storage_config.use_thanos_objstore": "loki.storage.use_thanos_objstore",
        "analytics.reporting_enabled": "loki.analytics.reporting_enabled",
    },
    "tempo": {
        "server.grpc_server_max_recv_msg_size": "server.grpc_server_max_recv_msg_size",
        "server.grpc_server_max_send_msg_size": "server.grpc_server_max_send_msg_size",
        "distributor.max_attribute_bytes": "distributor.config.max_attribute_bytes",
        "distributor.receivers.otlp.protocols.http.max_request_body_size": (
            "traces.otlp.http.receiverConfig.max_request_body_size"
        ),
        "querier.frontend_worker.grpc_client_config": (
            "querier.config.frontend_worker.grpc_client_config"
        ),
        "query_frontend.query_end_cutoff": "tempo.structuredConfig.query_frontend.query_end_cutoff",
        "live_store.max_trace_idle": "tempo.structuredConfig.live_store.max_trace_idle",
        "live_store.flush_check_period": "tempo.structuredConfig.live_store.flush_check_period",
        "backend_worker.compaction.block_retention": (
            "backendScheduler.config.provider.compaction.compaction.block_retention"
        ),
        "metrics_generator.processor.service_graphs": (
            "metricsGenerator.config.processor.service_graphs"
        ),
        "metrics_generator.registry": "metricsGenerator.config.registry",
        "overrides": "overrides",
        "usage_report.reporting_enabled": "reportingEnabled",
    },
    "prometheus": {
        "global.evaluation_interval": "prometheus.prometheusSpec.evaluationInterval",
        "storage.tsdb.retention.time": "prometheus.prometheusSpec.retention",
        "storage.tsdb.retention.size": "prometheus.prometheusSpec.retentionSize",
        "storage.tsdb.out_of_order_time_window": (
            "prometheus.prometheusSpec.tsdb.outOfOrderTimeWindow"
        ),
        "otlp.promote_resource_attributes": (
            "prometheus.prometheusSpec.otlp.promoteResourceAttributes"
        ),
    },
}
"""What must be equal: the path in the file of the other modes, and that in the values."""

VERSIONS = {
    ("loki", "loki.image.tag"): LOKI.version,
    ("tempo", "tempo.image.tag"): TEMPO.version,
    ("prometheus", "prometheus.prometheusSpec.image.tag"): f"v{PROMETHEUS.version}",
    ("prometheus", "alertmanager.alertmanagerSpec.image.tag"): f"v{ALERTMANAGER.version}",
    ("prometheus", "grafana.image.tag"): yaml.safe_load(Path("docker-compose.yaml").read_text())[
        "services"
    ]["grafana"]["image"].partition(":")[2],
}
"""The version of the other modes for each image."""


@pytest.mark.parametrize(
    ("name", "path"), [(name, path) for name, paths in EQUAL.items() for path in paths]
)
def test_settings_are_those_of_the_other_modes(name: str, path: str) -> None:
    """Limits, retention, labels and what is derived from spans are as in the other modes."""
    assert at(VALUES[name], EQUAL[name][path]) == at(CONFIG[name], path)


@pytest.mark.parametrize(("name", "path"), VERSIONS)
def test_versions_are_those_of_the_other_modes(name: str, path: str) -> None:
    """A chart runs the version that the other modes run."""
    assert at(VALUES[name], path) == VERSIONS[name, path]


@pytest.mark.parametrize("name", VALUES)
def test_charts_are_pinned(name: str) -> None:
    """The command in the head of each file names the version of the chart, and the file."""
    head = (FOLDER / f"values/{name}.yaml").read_text().partition("\n\n")[0]
    assert re.search(rf"helm upgrade --install {name} \S+ --version \d+\.\d+\.\d+ ", head)
    assert f"--values deploy/kubernetes/values/{name}.yaml" in head
    assert "--namespace backends" in head


def test_schema_of_loki_differs_in_its_store_only() -> None:
    """Loki writes the same index as in the other modes, into an object store."""
    (schema,) = CONFIG["loki"]["schema_config"]["configs"]
    assert at(VALUES["loki"], "loki.schemaConfig.configs") == [schema | {"object_store": "s3"}]
    assert at(VALUES["loki"], "loki.compactor.delete_request_store") == "s3"


def test_loki_keeps_each_record_three_times() -> None:
    """Loki has as many processes as replicas of a record, so that one may fail."""
    assert at(VALUES["loki"], "loki.commonConfig.replication_factor") == 3
    assert at(VALUES["loki"], "singleBinary.replicas") >= 3


def test_every_partition_has_its_processes() -> None:
    """Each of Tempo's partitions has a live-store and a block-builder."""
    partitions = at(VALUES["tempo"], "ingest.kafka.auto_create_topic_default_partitions")
    assert at(VALUES["tempo"], "liveStore.replicas") == partitions
    assert at(VALUES["tempo"], "blockBuilder.replicas") == partitions


@pytest.mark.parametrize("name", ["loki", "tempo"])
def test_charts_leave_no_token_and_no_credentials(name: str) -> None:
    """Pods get no token for the API server, and keys come from a Secret."""
    assert at(VALUES[name], "serviceAccount.automountServiceAccountToken") is False
    text = (FOLDER / f"values/{name}.yaml").read_text()
    keys = [line.split(": ")[1] for line in text.splitlines() if "_key" in line.split(":")[0]]
    assert sorted(keys) == ["${ACCESS_KEY}", "${SECRET_KEY}"]
    assert "name: object-store" in text


def test_large_writes_to_the_services_of_the_charts() -> None:
    """The hosts and ports of large/ are those that the charts give their Services."""
    tempo = VALUES["tempo"]["fullnameOverride"]
    loki = VALUES["loki"]["fullnameOverride"]
    assert WRITE["TEMPO_HOST"] == f"{tempo}-distributor.backends.svc"
    assert WRITE["TEMPO_OTLP_PORT"] == "4318"  # The chart's, without a setting.
    assert READ["TEMPO_HOST"] == f"{tempo}-query-frontend.backends.svc"
    assert WRITE["LOKI_HOST"] == READ["LOKI_HOST"] == f"{loki}.backends.svc"
    (target,) = at(VALUES["tempo"], "metricsGenerator.config.storage.remote_write")
    host = f"{WRITE['PROMETHEUS_HOST']}:{WRITE['PROMETHEUS_PORT']}"
    assert target == {"url": f"http://{host}/api/v1/write", "send_exemplars": True}
