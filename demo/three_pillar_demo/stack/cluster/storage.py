"""The object store and Kafka, which Tempo, Loki and Thanos share."""

from pathlib import Path

from three_pillar_demo.paths import ROOT
from three_pillar_demo.stack.binaries import KAFKA, VERSITYGW
from three_pillar_demo.stack.component import Component
from three_pillar_demo.stack.ports import Port

CONFIG = ROOT / "deploy" / "cluster"
"""The folder of the configuration files of the cluster."""
OBJECT_STORE_PORT = Port("OBJECT_STORE_PORT", 7480)
KAFKA_PORT = Port("KAFKA_PORT", 9092)
KAFKA_CONTROLLER_PORT = Port("KAFKA_CONTROLLER_PORT", 9393)
ACCESS_KEY = "three-pillars"
SECRET_KEY = "on-loopback-only"  # noqa: S105  (the store listens on loopback alone)
BUCKETS = ("tempo", "loki", "thanos")

OBJECT_STORE = Component(
    "object-store",
    (
        "--port=${BIND_ADDRESS}:${OBJECT_STORE_PORT}",
        "--health=/health",
        "--quiet",
        "posix",
        "--sidecar=${DATA}/metadata",
        "${DATA}/buckets",
    ),
    (OBJECT_STORE_PORT,),
    "/health",
    stop_order=6,
    binary=VERSITYGW,
    environment={
        "DATA": "${OBJECT_STORE_DATA}",
        "ROOT_ACCESS_KEY_ID": ACCESS_KEY,
        "ROOT_SECRET_ACCESS_KEY": SECRET_KEY,
    },
)
"""A store with the interface of S3. Each bucket is a folder below its data folder."""

BROKER = Component(
    "kafka",
    (str(CONFIG / "kafka.properties"),),
    (KAFKA_PORT, KAFKA_CONTROLLER_PORT),
    "",
    stop_order=6,
    binary=KAFKA,
    environment={"DATA": "${KAFKA_DATA}"},
)
"""The log of spans between Tempo's distributor and its readers."""


def create_buckets(data: Path = OBJECT_STORE.data) -> None:
    """Create the folders of the object store below ``data``.

    Raises:
        OSError: A folder cannot be created.
    """
    for folder in ("metadata", *(f"buckets/{name}" for name in BUCKETS)):
        (data / folder).mkdir(parents=True, exist_ok=True)
