"""What a drill file may ask: questions of ``backends.questions``, what to read in their answers, and how much is much."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Asked(BaseModel):
    """A question whose answer is a number; it is found where that is ``over`` or ``under`` a limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    says: str = Field("", description="What it means when it is found, in a sentence")
    over: float | None = None
    under: float | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if self.over is not None and self.under is not None:
            raise ValueError("either `over` or `under`, not both")
        return self

    def found(self, number: float | None) -> bool:
        """Whether ``number`` is much, or little, enough; what is not known is not found."""
        if number is None:
            return False
        return (
            number > self.over
            if self.over is not None
            else number < (self.under if self.under is not None else 0.0)
        )


class Red(Asked):
    """Rate, share of errors or a quantile of a route; ``per`` divides by that of another."""

    ask: Literal["red"]
    service: str
    route: str
    read: Literal["rate", "errors", "p50", "p95", "p99"]
    per: tuple[str, str] | None = Field(None, description="Service and route of the other")


class Counters(Asked):
    """A metric's ``series`` by a label; the ``share`` of its rise that has one of the label's ``values``; their ``sum``."""

    ask: Literal["counters"]
    name: str
    by: str
    read: Literal["series", "share", "sum"]
    values: tuple[str, ...] = ()


class Lines(Asked):
    """Log lines: how many a second, the ``share`` of them whose ``field`` is ``value``, or the field's ``median``."""

    ask: Literal["logs"]
    read: Literal["rate", "share", "median"]
    service: str = ""
    severity: str = ""
    text: str = ""
    canonical: bool = False
    field: str = ""
    value: str = ""


class Requests(Asked):
    """Traces of a service's newest requests, and what they are like: see ``traces.READ``."""

    ask: Literal["requests"]
    service: str
    read: Literal["share", "rate", "calls", "gap", "lead", "alone", "outside"]
    failed: bool = False
    slower: float = 0.0
    span: tuple[str, str] = Field(
        ("payment", "SERVER"), description="Service and kind of the span that is looked at"
    )
    attribute: str = ""
    value: str = ""


class Edges(Asked):
    """Who called whom: ``calls`` a second, or the share of them that ``failed``."""

    ask: Literal["service_graph"]
    client: str
    server: str
    read: Literal["calls", "failed"]


class Ages(Asked):
    """How many seconds old the newest of a pillar is."""

    ask: Literal["freshness"]
    pillar: Literal["traces", "logs", "metrics"]


class Counted(Asked):
    """How many spans, lines or points were taken in, a second."""

    ask: Literal["ingested"]
    what: Literal["spans", "lines", "points"]


class Up(Asked):
    """Whether something is wrong with a component: 1, or 0."""

    ask: Literal["health"]
    component: str


Question = Annotated[
    Red | Counters | Lines | Requests | Edges | Ages | Counted | Up, Field(discriminator="ask")
]
