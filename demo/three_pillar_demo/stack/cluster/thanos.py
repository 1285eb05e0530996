"""The cluster of Thanos, which keeps the metrics and answers as Prometheus does.

Each process that receives metrics sends them to all three. A query reads all of them and removes
what is there several times. Blocks of two hours go to the object store, where one process merges
and deletes them.
"""

import json

from three_pillar_demo.stack import ports
from three_pillar_demo.stack.binaries import THANOS
from three_pillar_demo.stack.cluster.storage import ACCESS_KEY, SECRET_KEY
from three_pillar_demo.stack.component import Component, variable_prefix
from three_pillar_demo.stack.native_config import CONFIG as NATIVE_CONFIG
from three_pillar_demo.stack.ports import Port

REPLICAS = 3
"""The number of receiving processes: each sample is on all of them.

A sample is acknowledged once two have it. Two replicas would need both, and gain nothing.
"""
RETENTION = "48h"
"""How long metrics are kept, as in prometheus.yml; a test compares the two.

A block is deleted as a whole, after its newest sample.
"""
DELETE_DELAY = "1h"
"""How long a block that was merged or has expired stays in the object store.

By then the store must have stopped reading it. The default, two days, would double the space.
"""
IGNORE_DELAY = "30m"
"""How long the store still reads a block that will be deleted: half of ``DELETE_DELAY``.

It is longer than the 15 minutes after which the store has found the merged block.
"""
RECEIVE_GRPC = tuple(
    Port(f"THANOS_RECEIVE_{number}_GRPC_PORT", 10911 + 10 * number) for number in range(REPLICAS)
)
RECEIVE_WRITE = tuple(
    Port(f"THANOS_RECEIVE_{number}_WRITE_PORT", 10913 + 10 * number) for number in range(REPLICAS)
)
QUERY_GRPC = Port("THANOS_QUERY_GRPC_PORT", 10901)
RULE_HTTP = Port("THANOS_RULE_PORT", 10952)
RULE_GRPC = Port("THANOS_RULE_GRPC_PORT", 10951)
STORE_GRPC = Port("THANOS_STORE_GRPC_PORT", 10941)
STORE_HTTP = Port("THANOS_STORE_PORT", 10942)
COMPACT_HTTP = Port("THANOS_COMPACT_PORT", 10962)
HASHRING = json.dumps(
    [{"endpoints": [{"address": f"127.0.0.1:${{{port.variable}}}"} for port in RECEIVE_GRPC]}]
)
BUCKET = """type: S3
config:
  bucket: thanos
  endpoint: 127.0.0.1:${OBJECT_STORE_PORT}
  insecure: true
"""
PROMOTED = ("service.name", "service.namespace", "deployment.environment.name")
"""The resource attributes that become labels of every series, as in prometheus.yml."""
ENDPOINTS = json.dumps(
    {
        "endpoints": [
            # Thanos cannot know whether an answer without one of them is complete, and a strict
            # endpoint that does not answer makes a query fail.
            *(
                {"address": f"127.0.0.1:${{{port.variable}}}", "strict": True}
                for port in RECEIVE_GRPC
            ),
            {"address": f"127.0.0.1:${{{STORE_GRPC.variable}}}", "strict": True},
            # Only alerts and recorded figures are missing without it.
            {"address": f"127.0.0.1:${{{RULE_GRPC.variable}}}"},
        ]
    }
)
THANOS_KEYS = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}


def _receive(number: int) -> Component:
    """Return a process of Thanos that receives, replicates and keeps metrics."""
    name = f"thanos-receive-{number}"
    prefix = variable_prefix(name)
    http = Port(f"{prefix}_PORT", 10912 + 10 * number)
    grpc = RECEIVE_GRPC[number]
    write = RECEIVE_WRITE[number]
    capnproto = Port(f"{prefix}_CAPNPROTO_PORT", 10914 + 10 * number)
    return Component(
        name,
        (
            "receive",
            f"--http-address=${{BIND_ADDRESS}}:${{{http.variable}}}",
            f"--grpc-address=${{BIND_ADDRESS}}:${{{grpc.variable}}}",
            f"--remote-write.address=${{BIND_ADDRESS}}:${{{write.variable}}}",
            f"--receive.capnproto-address=${{BIND_ADDRESS}}:${{{capnproto.variable}}}",
            f"--tsdb.path=${{{prefix}_DATA}}",
            f"--tsdb.retention={RETENTION}",
            "--tsdb.max-exemplars=100000",
            # As in prometheus.yml: a Collector that was down sends what is in its queue.
            "--tsdb.out-of-order.time-window=48h",
            f'--label=replica="{number}"',
            f"--receive.replication-factor={REPLICAS}",
            f"--receive.hashrings={HASHRING}",
            "--receive.hashrings-algorithm=ketama",
            f"--receive.local-endpoint=127.0.0.1:${{{grpc.variable}}}",
            f"--objstore.config={BUCKET}",
            "--log.level=warn",
            *(f"--receive.otlp-promote-resource-attributes={attribute}" for attribute in PROMOTED),
        ),
        (http, grpc, write, capnproto),
        "/-/ready",
        stop_order=5,
        binary=THANOS,
        start_order=1,
        environment=THANOS_KEYS,
    )


COMPACTOR = Component(
    "thanos-compact",
    (
        "compact",
        "--wait",
        "--http-address=${BIND_ADDRESS}:${THANOS_COMPACT_PORT}",
        "--data-dir=${THANOS_COMPACT_DATA}",
        f"--objstore.config={BUCKET}",
        *(f"--retention.resolution-{resolution}={RETENTION}" for resolution in ("raw", "5m", "1h")),
        f"--delete-delay={DELETE_DELAY}",
        # It is for queries over weeks, and begins with blocks of two days.
        "--downsampling.disable",
        # The blocks of the three receivers become one. Without it, the first blocks that overlap,
        # as late samples make them, would end compaction and deletion.
        "--deduplication.replica-label=replica",
        # After an error that needs a person it would stay ready and do nothing. So it exits, and
        # the launcher reports it.
        "--no-debug.halt-on-error",
        "--web.disable",
        "--log.level=warn",
    ),
    (COMPACT_HTTP,),
    "/-/ready",
    stop_order=5,
    binary=THANOS,
    start_order=1,
    environment=THANOS_KEYS,
)
"""The only process that deletes blocks. A second one for the same bucket would damage them."""

THANOS_CLUSTER = (
    *(_receive(number) for number in range(REPLICAS)),
    Component(
        "thanos-store",
        (
            "store",
            "--http-address=${BIND_ADDRESS}:${THANOS_STORE_PORT}",
            "--grpc-address=${BIND_ADDRESS}:${THANOS_STORE_GRPC_PORT}",
            "--data-dir=${THANOS_STORE_DATA}",
            f"--ignore-deletion-marks-delay={IGNORE_DELAY}",
            f"--objstore.config={BUCKET}",
            "--log.level=warn",
        ),
        (STORE_HTTP, STORE_GRPC),
        "/-/ready",
        stop_order=5,
        binary=THANOS,
        start_order=1,
        environment=THANOS_KEYS,
    ),
    COMPACTOR,
    # It answers as Prometheus does, so it has the port of Prometheus.
    Component(
        "thanos-query",
        (
            "query",
            "--http-address=${BIND_ADDRESS}:${PROMETHEUS_PORT}",
            "--grpc-address=${BIND_ADDRESS}:${THANOS_QUERY_GRPC_PORT}",
            "--query.replica-label=replica",
            # An answer that lacks a part is an error.
            "--no-query.partial-response",
            f"--endpoint.sd-config={ENDPOINTS}",
            "--log.level=warn",
        ),
        (ports.PROMETHEUS, QUERY_GRPC),
        "/-/ready",
        stop_order=5,
        binary=THANOS,
        start_order=1,
    ),
)
"""Thanos: metrics on three processes, and in the object store after two hours."""

RULES = Component(
    "thanos-rule",
    (
        "rule",
        "--http-address=${BIND_ADDRESS}:${THANOS_RULE_PORT}",
        "--grpc-address=${BIND_ADDRESS}:${THANOS_RULE_GRPC_PORT}",
        "--data-dir=${THANOS_RULE_DATA}",
        f"--tsdb.retention={RETENTION}",
        f"--rule-file={NATIVE_CONFIG / 'config' / 'alerts.yml'}",
        "--eval-interval=15s",
        "--query=127.0.0.1:${PROMETHEUS_PORT}",
        "--alertmanagers.url=http://127.0.0.1:${ALERTMANAGER_PORT}",
        '--label=replica="rule"',
        # Alertmanager would take an alert of each replica for another alert.
        "--alert.label-drop=replica",
        "--log.level=warn",
    ),
    (RULE_HTTP, RULE_GRPC),
    "/-/ready",
    stop_order=4,
    binary=THANOS,
    start_order=1,
)
"""It evaluates the alert rules, which Prometheus does itself on one machine."""
