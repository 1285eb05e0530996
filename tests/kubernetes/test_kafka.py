"""The Kafka of Strimzi loses no acknowledged span when a node fails, and is the one Tempo uses."""

import configparser
from pathlib import Path

from tests.kubernetes.chart_values import VALUES, at
from tests.kubernetes.manifests import manifests, name_of, named

OBJECTS = manifests("backends")
((NAME, KAFKA),) = named("Kafka", OBJECTS).items()
(POOL,) = named("KafkaNodePool", OBJECTS).values()
CONFIG = KAFKA["spec"]["kafka"]["config"]
NODES = POOL["spec"]["replicas"]


def test_nodes_belong_to_the_kafka() -> None:
    """The nodes are brokers and controllers of this Kafka."""
    assert POOL["metadata"]["labels"] == {"strimzi.io/cluster": NAME}
    assert set(POOL["spec"]["roles"]) == {"broker", "controller"}


def test_one_node_may_fail() -> None:
    """Each record is on three nodes, and acknowledged by two: one may fail, and one be replaced."""
    assert NODES == 3
    for kind in ("default", "offsets.topic", "transaction.state.log"):
        assert CONFIG[f"{kind}.replication.factor"] == NODES
    assert CONFIG["min.insync.replicas"] == CONFIG["transaction.state.log.min.isr"] == NODES - 1


def test_nodes_are_spread() -> None:
    """The nodes of Kafka are spread over zones and over nodes of the cluster."""
    pod = at(POOL, "spec.template.pod")
    selector = {"matchLabels": {"strimzi.io/pool-name": name_of(POOL)}}
    assert [entry["topologyKey"] for entry in pod["topologySpreadConstraints"]] == [
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    ]
    assert all(entry["labelSelector"] == selector for entry in pod["topologySpreadConstraints"])


def test_data_outlives_the_nodes() -> None:
    """Records and the metadata of KRaft are on volumes that stay when a node is removed."""
    (volume,) = at(POOL, "spec.storage.volumes")
    assert volume["type"] == "persistent-claim"
    assert volume["deleteClaim"] is False
    assert volume["kraftMetadata"] == "shared"


def test_tempo_uses_this_kafka() -> None:
    """Tempo writes to the listener of this Kafka, which only the backends may reach."""
    (listener,) = KAFKA["spec"]["kafka"]["listeners"]
    address = f"{NAME}-kafka-bootstrap.backends.svc:{listener['port']}"
    assert at(VALUES["tempo"], "ingest.kafka.address") == address
    assert listener["tls"] is False
    peers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "backends"}}}]
    assert listener["networkPolicyPeers"] == peers


def test_partitions_are_those_of_tempo() -> None:
    """A topic has as many partitions as Tempo has live-stores."""
    partitions = at(VALUES["tempo"], "ingest.kafka.auto_create_topic_default_partitions")
    assert CONFIG["num.partitions"] == partitions


def test_retention_is_that_of_the_native_cluster() -> None:
    """Kafka keeps spans as long as in the native cluster."""
    parser = configparser.ConfigParser(delimiters="=", interpolation=None)
    parser.read_string("[kafka]\n" + Path("deploy/cluster/kafka.properties").read_text())
    assert str(CONFIG["log.retention.hours"]) == parser["kafka"]["log.retention.hours"]


def test_metadata_version_is_that_of_kafka() -> None:
    """The metadata version is of the same release as Kafka, so a new node can join."""
    release = KAFKA["spec"]["kafka"]["version"].rpartition(".")[0]
    assert KAFKA["spec"]["kafka"]["metadataVersion"].partition("-")[0] == release


def test_pods_of_strimzi_pass_the_restricted_profile() -> None:
    """Strimzi makes pods for a namespace that enforces Pod Security's profile restricted."""
    variables = {entry["name"]: entry["value"] for entry in VALUES["strimzi"]["extraEnvs"]}
    assert variables == {"STRIMZI_POD_SECURITY_PROVIDER_CLASS": "restricted"}
    labels = named("Namespace", OBJECTS)["backends"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
