"""The files of the cluster agree with those of the single machine, and with each other."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes.chart_values import at
from three_pillar_demo.stack import environment
from three_pillar_demo.stack.cluster import thanos
from three_pillar_demo.stack.cluster.engines import LOKI_CLUSTER, TEMPO_CLUSTER
from three_pillar_demo.stack.cluster.thanos import THANOS_CLUSTER
from three_pillar_demo.stack.components import CLUSTER, CLUSTER_LOCAL_STORE, FULL

CLUSTER_FOLDER = Path("deploy/cluster")
EQUAL = {
    "loki": [
        "auth_enabled",
        "server.grpc_server_max_recv_msg_size",
        "server.grpc_server_max_send_msg_size",
        "limits_config",
        "compactor.retention_enabled",
        "storage_config.use_thanos_objstore",
        "analytics.reporting_enabled",
    ],
    "tempo": [
        "server.grpc_server_max_recv_msg_size",
        "server.grpc_server_max_send_msg_size",
        "distributor.max_attribute_bytes",
        "distributor.receivers.otlp.protocols.http.max_request_body_size",
        "querier.frontend_worker.grpc_client_config",
        "query_frontend",
        "live_store.max_trace_idle",
        "live_store.flush_check_period",
        "backend_worker.compaction.block_retention",
        "metrics_generator.processor.service_graphs",
        "metrics_generator.registry",
        "metrics_generator.storage.wal",
        "overrides",
        "usage_report.reporting_enabled",
    ],
}
"""The settings that must be equal in config/NAME.yaml and deploy/cluster/NAME.yaml."""


def load(path: Path) -> dict[str, Any]:
    """Return the content of a YAML file."""
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


@pytest.mark.parametrize(("name", "path"), [(name, path) for name in EQUAL for path in EQUAL[name]])
def test_a_cluster_refuses_and_keeps_what_one_machine_does(name: str, path: str) -> None:
    """Limits, retention and what is derived from spans are the same in both files."""
    one_machine = load(Path(f"config/{name}.yaml"))
    assert at(load(CLUSTER_FOLDER / f"{name}.yaml"), path) == at(one_machine, path)


def test_thanos_keeps_what_prometheus_does() -> None:
    """Promoted attributes, retention and the window for late samples are as in Prometheus."""
    prometheus = load(Path("prometheus.yml"))
    storage = prometheus["storage"]["tsdb"]
    for component in THANOS_CLUSTER[:3]:
        promoted = [
            argument.partition("=")[2]
            for argument in component.command
            if argument.startswith("--receive.otlp-promote-resource-attributes=")
        ]
        assert promoted == prometheus["otlp"]["promote_resource_attributes"]
        assert f"--tsdb.retention={thanos.RETENTION}" in component.command
        window = storage["out_of_order_time_window"]
        assert f"--tsdb.out-of-order.time-window={window}" in component.command


def hours(duration: str) -> float:
    """Return a duration of minutes, hours or days, such as ``2d``, in hours."""
    return float(duration[:-1]) * {"m": 1 / 60, "h": 1, "d": 24}[duration[-1]]


def test_metrics_are_kept_as_long_as_in_prometheus() -> None:
    """Raw and downsampled blocks in the object store expire as the metrics of Prometheus do."""
    retention = load(Path("prometheus.yml"))["storage"]["tsdb"]["retention"]["time"]
    assert hours(thanos.RETENTION) == hours(retention)
    flags = [flag for flag in thanos.COMPACTOR.command if flag.startswith("--retention.")]
    assert flags == [
        f"--retention.resolution-{resolution}={thanos.RETENTION}"
        for resolution in ("raw", "5m", "1h")
    ]
    assert f"--tsdb.retention={thanos.RETENTION}" in thanos.RULES.command


@pytest.mark.parametrize("components", [CLUSTER, CLUSTER_LOCAL_STORE])
def test_one_process_deletes_metrics(components: tuple[Any, ...]) -> None:
    """There is exactly one compactor for the bucket, and no store reads what it is deleting."""
    compactors = [item for item in components if item.command[:1] == ("compact",)]
    assert compactors == [thanos.COMPACTOR]
    (store,) = [item for item in components if item.name == "thanos-store"]
    assert f"--delete-delay={thanos.DELETE_DELAY}" in thanos.COMPACTOR.command
    assert f"--ignore-deletion-marks-delay={thanos.IGNORE_DELAY}" in store.command
    found_after = hours("15m")  # the default of --sync-block-duration
    assert found_after < hours(thanos.IGNORE_DELAY)
    assert hours(thanos.IGNORE_DELAY) + found_after < hours(thanos.DELETE_DELAY)


def test_every_partition_has_its_readers() -> None:
    """Each partition of Kafka has a live-store in both zones, and one block-builder."""
    tempo = load(CLUSTER_FOLDER / "tempo.yaml")
    partitions = range(tempo["ingest"]["kafka"]["auto_create_topic_default_partitions"])
    names = {component.name for component in TEMPO_CLUSTER}
    assert {f"tempo-live-store-{zone}-{number}" for zone in "ab" for number in partitions} == {
        name for name in names if "live-store" in name
    }
    assigned = tempo["block_builder"]["assigned_partitions"]
    assert sorted(number for numbers in assigned.values() for number in numbers) == [*partitions]
    assert assigned.keys() == {name for name in names if "block-builder" in name}
    kafka = (CLUSTER_FOLDER / "kafka.properties").read_text()
    assert f"num.partitions={len(partitions)}\n" in kafka


def test_each_record_and_sample_is_on_every_replica() -> None:
    """The replication of Loki and Thanos is three, which is the number of their processes."""
    loki = load(CLUSTER_FOLDER / "loki.yaml")
    assert loki["common"]["replication_factor"] == len(LOKI_CLUSTER) == 3
    receivers = [item for item in THANOS_CLUSTER if item.name.startswith("thanos-receive-")]
    assert len(receivers) == 3
    for component in receivers:
        assert "--receive.replication-factor=3" in component.command


def test_services_and_gateways_share_the_sampling_rule() -> None:
    """The default share of the services is that of the gateway's file."""
    policies = load(Path("deploy/collector/gateway.yaml"))["processors"]["tail_sampling"][
        "policies"
    ]
    (share,) = [policy for policy in policies if policy["type"] == "probabilistic"]
    default = environment.CLUSTER_DEFAULTS["TAIL_SAMPLING_PERCENTAGE"]
    expected = f"${{env:TAIL_SAMPLING_PERCENTAGE:-{default}}}"
    assert share["probabilistic"]["sampling_percentage"] == expected


@pytest.mark.parametrize("components", [CLUSTER, CLUSTER_LOCAL_STORE])
def test_no_two_components_share_a_port(components: tuple[Any, ...]) -> None:
    """Every port of a cluster has a variable and a default of its own."""
    listening = [port for component in components for port in component.ports]
    assert len({port.variable for port in listening}) == len(listening)
    assert len({port.default for port in listening}) == len(listening)


@pytest.mark.parametrize("components", [CLUSTER, CLUSTER_LOCAL_STORE])
def test_telemetry_stops_in_the_order_of_its_flow(components: tuple[Any, ...]) -> None:
    """What sends stops before what receives, and what receives is started first."""
    by_name = {component.name: component for component in components}
    flow = ["checkout", "otel-agent-0", "otel-gateway-0", "thanos-receive-0", "object-store"]
    stops = [by_name[name].stop_order for name in flow]
    starts = [by_name[name].start_order for name in flow]
    assert stops == sorted(stops)
    assert len(set(stops)) == len(flow)
    assert starts == sorted(starts, reverse=True)


def test_one_machine_is_started_at_once() -> None:
    """The modes of one machine have a single position in the order of the start."""
    assert {component.start_order for component in FULL} == {0}
