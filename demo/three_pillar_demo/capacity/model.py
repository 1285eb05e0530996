"""What each part needs at a rate of checkouts: arithmetic on the figures of ``figures.py``.

Nothing here was run at these rates. The result says which order of magnitude to plan for, and which
part is the first to become too small.
"""

import math
from dataclasses import dataclass

from three_pillar_demo.capacity import figures
from three_pillar_demo.capacity.figures import LokiTier

UTILISATION = 0.6
"""The share of each core that is planned to be busy; the rest is for peaks and for failovers."""
MIN_REPLICAS = 2
"""The smallest number of processes of a part, so that one of them may be away."""
ZONES = 2
"""The availability zones in which each partition of Tempo has a live-store."""
METRIC_REPLICAS = 3
"""The copies of each metric series: Thanos with replication 3."""
EXPORT_INTERVAL_S = 15
"""The seconds between two exports of metrics in a company; the demo exports every second."""
SECONDS_A_DAY = 86_400
MEGA = 1_000_000
MEBI = 1024**2
GIBI = 1024**3


@dataclass(frozen=True)
class Plan:
    """What ``rate`` checkouts a second need.

    Attributes:
        rate: Checkouts a second.
        kept: The share of the traces that tail sampling keeps, from 0 to 1.
        days: How many days everything is stored.
    """

    rate: float
    kept: float = 1
    days: int = 14

    @property
    def spans(self) -> float:
        """The spans that the services send, a second."""
        return self.rate * figures.SPANS.value

    @property
    def log_records(self) -> float:
        """The log records that the services send, a second."""
        return self.rate * figures.LOG_RECORDS.value

    @property
    def trace_mb(self) -> float:
        """The spans that the services send, in MB a second."""
        return self.rate * figures.SPAN_BYTES.value / MEGA

    @property
    def kept_trace_mb(self) -> float:
        """The spans that arrive in Tempo, in MB a second."""
        return self.trace_mb * self.kept

    @property
    def log_mb(self) -> float:
        """The log records that the services send, in MB a second."""
        return self.log_records * figures.LOG_RECORD_BYTES.value / MEGA

    @property
    def log_gb_a_day(self) -> float:
        """The log records that the services send, in GB a day."""
        return self.log_mb * SECONDS_A_DAY / 1000

    @property
    def checkout_processes(self) -> int:
        """The processes of checkout, each with a core of its own."""
        return _replicas(self.rate * figures.CHECKOUT_CPU_US.value / MEGA / UTILISATION)

    @property
    def payment_processes(self) -> int:
        """The processes of payment, each with a core of its own."""
        return _replicas(self.rate * figures.PAYMENT_CPU_US.value / MEGA / UTILISATION)

    @property
    def service_gib(self) -> float:
        """The resident memory of all processes of the services, in GiB."""
        processes = self.checkout_processes + self.payment_processes
        return processes * figures.SERVICE_MIB.value * MEBI / GIBI

    @property
    def series(self) -> float:
        """The metric series: they follow the processes, not the customers."""
        return self.checkout_processes * figures.SERIES.value

    @property
    def metric_mb(self) -> float:
        """The metrics that the services send, in MB a second."""
        exported = self.checkout_processes * figures.METRIC_EXPORT_BYTES.value
        return exported / EXPORT_INTERVAL_S / MEGA

    @property
    def samples(self) -> float:
        """The samples that are stored a second, without their copies."""
        return self.series / EXPORT_INTERVAL_S

    @property
    def prometheus_gib(self) -> float:
        """The memory that the series need in all copies together, in GiB."""
        return self.series / MEGA * figures.SERIES_GIB.value * METRIC_REPLICAS

    @property
    def agent_cores(self) -> float:
        """The cores of all agents together, of which each machine of the services has one."""
        return self.spans / figures.AGENT_SPANS.value / UTILISATION

    @property
    def gateways(self) -> int:
        """The gateways, each with a core of its own."""
        return _replicas(self.spans / figures.GATEWAY_SPANS.value / UTILISATION)

    @property
    def distributors(self) -> int:
        """The distributors of Tempo."""
        return _replicas(self.kept_trace_mb / figures.DISTRIBUTOR_MB.value)

    @property
    def partitions(self) -> int:
        """The partitions of the topic in Kafka: one for each live-store of a zone."""
        return max(1, math.ceil(self.kept_trace_mb / figures.LIVE_STORE_MB.value))

    @property
    def live_stores(self) -> int:
        """The live-stores of Tempo in all zones."""
        return self.partitions * ZONES

    @property
    def block_builders(self) -> int:
        """The block-builders of Tempo, one for each partition."""
        return self.partitions

    @property
    def queriers(self) -> int:
        """The queriers of Tempo."""
        return _replicas(self.kept_trace_mb / figures.QUERIER_MB.value)

    @property
    def tempo_cores(self) -> float:
        """The cores of distributors, live-stores and block-builders."""
        return (
            self.distributors * figures.DISTRIBUTOR_CORES.value
            + self.live_stores * figures.LIVE_STORE_CORES.value
            + self.block_builders * figures.BLOCK_BUILDER_CORES.value
        )

    @property
    def tempo_gb(self) -> float:
        """The memory of distributors, live-stores and block-builders, in GB."""
        return (
            self.distributors * figures.DISTRIBUTOR_GB.value
            + self.live_stores * figures.LIVE_STORE_GB.value
            + self.block_builders * figures.BLOCK_BUILDER_GB.value
        )

    @property
    def loki(self) -> LokiTier:
        """The size of Loki that is enough; the largest one is multiplied as needed."""
        for tier in figures.LOKI_TIERS:
            if self.log_gb_a_day <= tier.gb_a_day:
                return tier
        largest = figures.LARGEST_LOKI_TIER
        times = math.ceil(self.log_gb_a_day / largest.gb_a_day)
        return LokiTier(
            f"{times} times {largest.name}",
            times * largest.gb_a_day,
            times * (largest.cores or 0),
            times * (largest.gib or 0),
            largest.source,
        )

    @property
    def tempo_storage_gb(self) -> float:
        """What Tempo stores in all days, in GB."""
        return self._stored_gb(figures.TEMPO_BYTES.value * self.kept)

    @property
    def loki_storage_gb(self) -> float:
        """What Loki stores in all days, in GB."""
        return self._stored_gb(figures.LOKI_BYTES.value)

    @property
    def prometheus_storage_gb(self) -> float:
        """What the metrics need in all days and in all copies, in GB."""
        samples = self.samples * self.days * SECONDS_A_DAY
        return samples * figures.SAMPLE_BYTES.value * METRIC_REPLICAS / 1e9

    def _stored_gb(self, bytes_of_a_checkout: float) -> float:
        return self.rate * bytes_of_a_checkout * self.days * SECONDS_A_DAY / 1e9


def _replicas(number: float) -> int:
    return max(MIN_REPLICAS, math.ceil(number))
