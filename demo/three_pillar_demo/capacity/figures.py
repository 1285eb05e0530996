"""The figures that the capacity model is calculated from, each with its source.

Those of this project are measured: ``tests/demo/test_capacity.py`` compares them with
``tests/test_budget.py`` and with the tables of docs/benchmarks.md. Those of the backends are
published by their makers.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One input of the model.

    Attributes:
        name: What the figure says, as a row of a table.
        value: The figure itself.
        unit: The unit of ``value``.
        source: Where the figure comes from.
    """

    name: str
    value: float
    unit: str
    source: str


BUDGET = "tests/test_budget.py"
FOOTPRINT = "docs/benchmarks.md, Footprint"
THROUGHPUT = "docs/benchmarks.md, Throughput"
TIERS = "docs/benchmarks.md, Agents and gateways"
TEMPO = "Tempo 3.0 documentation, Size the cluster"
LOKI = "Loki 3.7 documentation, Size the cluster"
LOKI_MODES = "Loki 3.7 documentation, Deployment modes"
PROMETHEUS = "Prometheus documentation, Storage"
PROMETHEUS_MEMORY = "Robust Perception, How much RAM does Prometheus 2.x need"

SPANS = Figure("spans of a checkout", 4, "spans", BUDGET)
SPAN_BYTES = Figure("bytes of its spans", 1379, "bytes", BUDGET)
LOG_RECORDS = Figure("log records of a checkout", 2.39, "records", FOOTPRINT)
LOG_RECORD_BYTES = Figure("bytes of one log record", 322, "bytes", BUDGET)
METRIC_EXPORT_BYTES = Figure(
    "bytes of the metrics of one checkout and one payment process, each second",
    3952,
    "bytes",
    BUDGET,
)
CHECKOUT_CPU_US = Figure("CPU time of checkout for a checkout", 1645, "µs", THROUGHPUT)
PAYMENT_CPU_US = Figure("CPU time of payment for a checkout", 402, "µs", THROUGHPUT)
SERVICE_MIB = Figure("resident memory of a process of a service", 79, "MiB", FOOTPRINT)
SERIES = Figure("series of a stack with one process of each service", 1322, "series", FOOTPRINT)
AGENT_SPANS = Figure("spans on a core of an agent before four gateways", 29_268, "spans/s", TIERS)
GATEWAY_SPANS = Figure("spans on a core of a gateway, one of four", 11_834, "spans/s", TIERS)
TEMPO_BYTES = Figure("bytes of a checkout in Tempo", 2539, "bytes", FOOTPRINT)
LOKI_BYTES = Figure("bytes of a checkout in Loki", 1186, "bytes", FOOTPRINT)

DISTRIBUTOR_MB = Figure("traces for one distributor", 10, "MB/s", TEMPO)
DISTRIBUTOR_CORES = Figure("cores of a distributor", 2, "cores", TEMPO)
DISTRIBUTOR_GB = Figure("memory of a distributor", 2, "GB", TEMPO)
LIVE_STORE_MB = Figure("traces for one live-store, published 6 to 10", 6, "MB/s", TEMPO)
LIVE_STORE_CORES = Figure("cores of a live-store", 1, "cores", TEMPO)
LIVE_STORE_GB = Figure("memory of a live-store, published 4 to 20", 12, "GB", TEMPO)
BLOCK_BUILDER_CORES = Figure("cores of a block-builder", 0.5, "cores", TEMPO)
BLOCK_BUILDER_GB = Figure("memory of a block-builder, published 5 to 10", 8, "GB", TEMPO)
QUERIER_MB = Figure("traces for one querier, published 1 to 2", 1, "MB/s", TEMPO)
SERIES_GIB = Figure("memory for a million series", 2, "GiB", PROMETHEUS_MEMORY)
SAMPLE_BYTES = Figure("bytes of a sample on disk, published 1 to 2", 2, "bytes", PROMETHEUS)


@dataclass(frozen=True)
class LokiTier:
    """A size of Loki that its documentation names.

    Attributes:
        name: What is run.
        gb_a_day: The log records in GB a day up to which it is enough.
        cores: The CPU requests of all processes together, or None if none are published.
        gib: The memory requests of all processes together in GiB, or None if none are published.
        source: Where the figures come from.
    """

    name: str
    gb_a_day: float
    cores: int | None
    gib: int | None
    source: str


LOKI_TIERS = (
    LokiTier("monolithic, three instances", 20, None, None, LOKI_MODES),
    LokiTier("microservices, first tier", 3_000, 38, 59, LOKI),
    LokiTier("microservices, second tier", 30_000, 431, 857, LOKI),
)
LARGEST_LOKI_TIER = LokiTier("microservices, third tier", 30_000, 1_221, 2_235, LOKI)
"""The tier beyond the others: these cores and this memory for each 30 TB a day."""

ALL = tuple(value for value in list(globals().values()) if isinstance(value, Figure))
"""Every single figure, in the order of this file."""
