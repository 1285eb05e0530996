"""The conditions of a drill file: a query, what to read from its answer, and a limit.

Each class is named after the method of ``query.interface.Backends`` that it calls.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class QueryCondition(BaseModel):
    """A query that yields one number; the condition is met ``over`` or ``under`` a limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    says: str = Field("", description="What it means when the condition is met, as a sentence")
    over: float | None = None
    under: float | None = None

    @model_validator(mode="after")
    def _has_at_most_one_limit(self) -> Self:
        if self.over is not None and self.under is not None:
            raise ValueError("either `over` or `under`, not both")
        return self

    def is_met(self, value: float | None) -> bool:
        """Compare ``value`` with the limit, which it must pass; None (unknown) never meets it."""
        if value is None:
            return False
        if self.over is not None:
            return value > self.over
        if self.under is not None:
            return value < self.under
        return value < 0.0


class RedCondition(QueryCondition):
    """Request rate, error ratio or a latency quantile of a route.

    With ``per``, the value is divided by the same figure of another route.
    """

    ask: Literal["red"]
    service: str
    route: str
    read: Literal["rate", "errors", "p50", "p95", "p99"]
    per: tuple[str, str] | None = Field(None, description="Service and route of the divisor")


class CountersCondition(QueryCondition):
    """A counter or gauge, grouped by one label.

    ``series`` is the number of label values. ``share`` is the part of the metric's increase that
    has one of the label's ``values``. ``sum`` is the sum over those ``values``.
    """

    ask: Literal["counters"]
    name: str
    by: str
    read: Literal["series", "share", "sum"]
    values: tuple[str, ...] = ()


class LogsCondition(QueryCondition):
    """Log records: how many per second, or the values of one ``field``.

    ``share`` is the part of the records with the field in which it equals ``value``; ``median`` is
    the median of the field.
    """

    ask: Literal["logs"]
    read: Literal["rate", "share", "median"]
    service: str = ""
    severity: str = ""
    text: str = ""
    canonical: bool = False
    field: str = ""
    value: str = ""


class RequestsCondition(QueryCondition):
    """The traces of a service's newest requests.

    ``rate`` is requests per second. ``share`` is the part of the traces whose ``span`` has
    ``value`` as its ``attribute``. The other figures are functions in ``traces.py``.
    """

    ask: Literal["requests"]
    service: str
    read: Literal["share", "rate", "calls", "gap", "lead", "alone", "outside"]
    failed: bool = False
    slower: float = 0.0
    span: tuple[str, str] = Field(
        ("payment", "SERVER"), description="Service and kind of the span that has the attribute"
    )
    attribute: str = ""
    value: str = ""


class ServiceGraphCondition(QueryCondition):
    """Calls from one service to another: how many per second, or the share that ``failed``."""

    ask: Literal["service_graph"]
    client: str
    server: str
    read: Literal["calls", "failed"]


class FreshnessCondition(QueryCondition):
    """The age in seconds of the newest item of a pillar."""

    ask: Literal["freshness"]
    pillar: Literal["traces", "logs", "metrics"]


class IngestedCondition(QueryCondition):
    """How many spans, log records or metric points were ingested per second."""

    ask: Literal["ingested"]
    what: Literal["spans", "lines", "points"]


class HealthCondition(QueryCondition):
    """Whether a component reports a problem: 1 if so, else 0."""

    ask: Literal["health"]
    component: str


Condition = Annotated[
    RedCondition
    | CountersCondition
    | LogsCondition
    | RequestsCondition
    | ServiceGraphCondition
    | FreshnessCondition
    | IngestedCondition
    | HealthCondition,
    Field(discriminator="ask"),
]
