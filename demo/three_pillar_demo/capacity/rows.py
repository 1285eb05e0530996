"""The rows of a capacity table, as ``demo capacity`` and docs/explanation/scale.md show them."""

from collections.abc import Callable
from dataclasses import dataclass

from three_pillar_demo.capacity.model import EXPORT_INTERVAL_S, Plan

KILO = 1000


@dataclass(frozen=True)
class Row:
    """One row: the part of the system, the quantity, and its text for a plan."""

    part: str
    quantity: str
    text: Callable[[Plan], str]


def number(value: float) -> str:
    """Return ``value`` with two significant digits, or as a whole number from 10 on."""
    if value >= 10:  # noqa: PLR2004  (two digits before the point)
        return f"{value:,.0f}"
    return f"{value:.2g}"


def gigabytes(value: float) -> str:
    """Return ``value``, in GB, as GB, TB or PB."""
    for unit in ("GB", "TB"):
        if value < KILO:
            return f"{number(value)} {unit}"
        value /= KILO
    return f"{number(value)} PB"


def _loki_request(cores_or_gib: int | None) -> str:
    return number(cores_or_gib) if cores_or_gib is not None else "not published"


ROWS = (
    Row("traffic", "spans a second", lambda plan: number(plan.spans)),
    Row("", "spans, MB/s", lambda plan: number(plan.trace_mb)),
    Row("", "log records a second", lambda plan: number(plan.log_records)),
    Row("", "log records, MB/s", lambda plan: number(plan.log_mb)),
    Row("", f"metrics every {EXPORT_INTERVAL_S} s, MB/s", lambda plan: number(plan.metric_mb)),
    Row("services", "processes of checkout", lambda plan: number(plan.checkout_processes)),
    Row("", "processes of payment", lambda plan: number(plan.payment_processes)),
    Row("", "memory, GiB", lambda plan: number(plan.service_gib)),
    Row("agents", "cores, all together", lambda plan: number(plan.agent_cores)),
    Row("gateways", "processes, one core each", lambda plan: number(plan.gateways)),
    Row("Tempo", "traces kept, MB/s", lambda plan: number(plan.kept_trace_mb)),
    Row("", "partitions in Kafka", lambda plan: number(plan.partitions)),
    Row("", "distributors", lambda plan: number(plan.distributors)),
    Row("", "live-stores in two zones", lambda plan: number(plan.live_stores)),
    Row("", "block-builders", lambda plan: number(plan.block_builders)),
    Row("", "queriers", lambda plan: number(plan.queriers)),
    Row("", "cores, without queriers", lambda plan: number(plan.tempo_cores)),
    Row("", "memory, without queriers, GB", lambda plan: number(plan.tempo_gb)),
    Row("", "stored", lambda plan: gigabytes(plan.tempo_storage_gb)),
    Row("Loki", "log records a day", lambda plan: gigabytes(plan.log_gb_a_day)),
    Row("", "deployment", lambda plan: plan.loki.name),
    Row("", "cores", lambda plan: _loki_request(plan.loki.cores)),
    Row("", "memory, GiB", lambda plan: _loki_request(plan.loki.gib)),
    Row("", "stored", lambda plan: gigabytes(plan.loki_storage_gb)),
    Row("metrics", "series", lambda plan: number(plan.series)),
    Row("", "samples a second", lambda plan: number(plan.samples)),
    Row("", "memory of three copies, GiB", lambda plan: number(plan.prometheus_gib)),
    Row("", "stored, three copies", lambda plan: gigabytes(plan.prometheus_storage_gb)),
)
"""All rows; an empty part repeats that of the row before."""
