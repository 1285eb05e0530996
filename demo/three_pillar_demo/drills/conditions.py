"""The conditions of a drill file: a query, the number to read from its result, and a limit.

The key ``ask`` names the method of ``query.interface.Backends`` that the condition calls, and so
selects the class of the condition. The key ``read`` says which number is read from the result.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class QueryCondition(BaseModel):
    """Base class of the conditions: a query that yields one number, which is compared with a limit.

    The condition is met if the number is greater than ``over``, or less than ``under``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    says: str = Field("", description="The sentence that is true when the condition is met")
    over: float | None = None
    under: float | None = None

    @model_validator(mode="after")
    def _has_at_most_one_limit(self) -> Self:
        if self.over is not None and self.under is not None:
            raise ValueError("either `over` or `under`, not both")
        return self

    def is_met(self, value: float | None) -> bool:
        """Return whether ``value`` is greater than ``over``, or less than ``under``.

        A ``value`` of None is unknown, and never meets the condition.
        """
        if value is None:
            return False
        if self.over is not None:
            return value > self.over
        if self.under is not None:
            return value < self.under
        return value < 0.0  # A condition in a drill file always has a limit.


class RedCondition(QueryCondition):
    """A condition on a route's rate, errors or duration (RED), from the metrics.

    The values of ``read``:

    - ``rate``: requests per second.
    - ``errors``: the share of the requests that failed with a server error, from 0 to 1.
    - ``p50``, ``p95``, ``p99``: a quantile of the latency, in seconds.

    If ``per`` names another route, the number is divided by the same number of that route.
    """

    ask: Literal["red"]
    service: str
    route: str
    read: Literal["rate", "errors", "p50", "p95", "p99"]
    per: tuple[str, str] | None = Field(None, description="Service and route of the divisor")


class CountersCondition(QueryCondition):
    """A condition on the counter or gauge ``name``, grouped by the label ``by``.

    ``values`` selects the series whose label has one of these values. The values of ``read``:

    - ``series``: how many different values the label has.
    - ``sum``: the present total of the selected series.
    - ``share``: the increase of the selected series since the fault began, as a share (0 to 1) of
      the increase of all series.
    """

    ask: Literal["counters"]
    name: str
    by: str
    read: Literal["series", "share", "sum"]
    values: tuple[str, ...] = ()


class LogsCondition(QueryCondition):
    """A condition on the log records that match ``service``, ``severity`` and ``text``.

    A key that is empty or missing matches every record. With ``canonical``, only canonical log
    records count: the one record that a service writes for each request. The values of ``read``:

    - ``rate``: records per second; at most ``evidence.MAX_LOG_RECORDS`` records are counted.
    - ``share``: among the records that have the field ``field``, the share (0 to 1) in which the
      field equals ``value``.
    - ``median``: the median of the field ``field``.
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
    """A condition on the traces of a service's newest requests.

    With ``failed``, only requests with an error count. With ``slower``, only requests count that
    took more than this number of seconds. The values of ``read``:

    - ``rate``: requests per second; at most ``evidence.MAX_TRACES`` requests are counted.
    - ``share``: the share (0 to 1) of the traces in which the attribute ``attribute`` of a span
      equals ``value``. Only spans of the service and kind ``span`` count.
    - The others are explained in ``traces.py`` (``FIGURES``).
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
    """A condition on the calls from the service ``client`` to the service ``server``.

    ``calls`` is in calls per second, and ``failed`` is the share of them, from 0 to 1, that failed.
    """

    ask: Literal["service_graph"]
    client: str
    server: str
    read: Literal["calls", "failed"]


class FreshnessCondition(QueryCondition):
    """A condition on the age, in seconds, of the newest telemetry of one kind (``pillar``)."""

    ask: Literal["freshness"]
    pillar: Literal["traces", "logs", "metrics"]


class IngestedCondition(QueryCondition):
    """A condition on how many spans, log records (``lines``) or metric points arrive per second."""

    ask: Literal["ingested"]
    what: Literal["spans", "lines", "points"]


class HealthCondition(QueryCondition):
    """A condition on the health of ``component``: 1 if it reports a problem, otherwise 0."""

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
