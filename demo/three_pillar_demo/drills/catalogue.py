"""The drill files: what each must say, and that it does."""

import os
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from three_pillar_demo.drills.conditions import Question
from three_pillar_demo.stack import state
from three_pillar_demo.stack.components import DEFAULT

FOLDERS = (
    Path(__file__).parent / "scenarios",
    *map(Path, filter(None, [os.environ.get("DEMO_DRILLS")])),
)
"""Where drill files are; a later folder's win."""
WHY = {
    "slow-gateway": "a gateway that payment calls has become slow",
    "failing-gateway": "the bank's gateway does not answer",
    "card-testers": "somebody tries stolen cards",
    "process-gone": "a process is not there",
    "bad-release": "a new version has a bug",
    "eager-retries": "a caller tries again at once, and again",
    "small-pool": "too few connections for the calls",
    "synchronous-call": "a call that blocks keeps everybody waiting",
    "lost-context": "somebody on the way drops the trace context",
    "unbounded-label": "a metric has a label without end",
    "stuck-telemetry": "telemetry cannot be stored",
    "wrong-clock": "a clock is wrong",
    "too-many-customers": "more customers than the shop can serve",
    "bad-input": "customers send what cannot be read",
}
"""The reasons that an answer may give: a choice, so that it can be graded."""
Sentence = Annotated[str, StringConstraints(min_length=10, max_length=600)]


class DrillError(Exception):
    """There is no such drill, its file is wrong, or it cannot be played now; the text says why."""


class Part(BaseModel):
    """A table of the file; what is not known is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Customers(Part):
    """Who buys: ``rate`` a second; the weights of cards, like ``visa`` or ``declined@0.50``, one thing at that price."""

    rate: float = Field(gt=0, le=50)
    mix: dict[
        Annotated[str, StringConstraints(pattern=r"^[a-z]+(-[a-z]+)?(@\d+\.\d\d)?$")], float
    ] = Field(min_length=1)


class Payment(Part):
    """What goes wrong in payment, as ``services/payment/faults.py`` knows it."""

    failure_rate: float | None = Field(None, ge=0, le=1)
    latency_min: float | None = Field(None, ge=0, le=10)
    latency_max: float | None = Field(None, ge=0, le=10)
    slow_network: Literal["visa", "mastercard", "amex"] | None = None


class Checkout(Part):
    """What goes wrong in checkout, as ``services/checkout/faults.py`` knows it."""

    attempts: int | None = Field(None, ge=2, le=10)
    narrow: Literal[True] | None = None
    counts: Literal[True] | None = None
    block: float | None = Field(None, gt=0, le=1)


class Fault(Part):
    """What is broken; nothing when empty."""

    payment: Payment = Payment()
    checkout: Checkout = Checkout()
    customers: dict[str, float] = Field({}, description="Another mix of cards")
    drop_context: bool = Field(
        default=False, description="A proxy before payment drops traceparent"
    )
    second_version: str = Field(
        "", pattern=r"^(\d+\.\d+\.\d+)?$", description="Half of the calls go to such a payment"
    )
    crash_over: float | None = Field(
        None, gt=0, description="The second version crashes over that amount"
    )
    clock_ahead: float = Field(
        0.0, ge=0, le=60, description="Payment's clock is so many seconds ahead"
    )
    lock_store: bool = Field(
        default=False, description="Somebody else holds the local store's file"
    )
    stop: tuple[Literal["payment", "loki"], ...] = Field(
        (), description="Components that are stopped"
    )


class Alerts(Part):
    """On the real stack: which alert of alerts.yml must fire, with its windows ``shrink`` times shorter. No other may."""

    fire: tuple[str, ...] = ()
    shrink: int = Field(60, ge=1, le=120)
    pipeline: bool = Field(
        default=False,
        description="Judge those about the Collector too, which tells its figures every 5 s",
    )


class Answer(Part):
    """What is right: words of which any will do, and for each part the reason why it is so."""

    what: tuple[str, ...] = Field(min_length=1, description="The component")
    where: tuple[str, ...] = Field(min_length=1, description="The service, route, version or card")
    why: str = Field(description="One of WHY")
    because: Sentence = Field(description="How one can know")

    @model_validator(mode="after")
    def _a_reason_that_can_be_chosen(self) -> Self:
        if self.why not in WHY:
            raise ValueError(f"why is one of: {', '.join(WHY)}")
        return self


class Drill(Part):
    """One incident."""

    name: str
    pain: Annotated[str, StringConstraints(min_length=10, max_length=80)]
    story: Sentence
    modes: tuple[Literal["local", "full"], ...] = Field(("local", "full"), min_length=1)
    customers: Customers
    fault: Fault
    within: float = Field(gt=0, le=120, description="Seconds in which the symptom must be there")
    symptom: Question
    evidence: tuple[Question, ...] = Field(min_length=1)
    decoys: tuple[Question, ...] = Field(min_length=1)
    alerts: Alerts
    hints: tuple[Sentence, Sentence, Sentence]
    answer: Answer
    fix: Sentence
    page: str = Field(pattern=r"^/")
    runbook: str = Field(pattern=r"^docs/[\w/.-]+\.md(#[\w-]+)?$")
    full: dict[str, Any] = Field({}, description="What is otherwise on the real stack")

    @model_validator(mode="after")
    def _every_question_has_words_and_a_limit(self) -> Self:
        for each in (self.symptom, *self.evidence, *self.decoys):
            if not each.says or (each.over is None and each.under is None):
                raise ValueError(f"a question ({each.ask}) needs `says`, and `over` or `under`")
        if self.fault == Fault():
            raise ValueError("the fault is empty: nothing would be broken")
        return self


def files() -> dict[str, Path]:
    """The file of each drill, by its name."""
    return {path.stem: path for folder in FOLDERS for path in sorted(folder.glob("*.toml"))}


def names() -> list[str]:
    """The names of all drills."""
    return sorted(files())


def load(name: str) -> Drill:
    """The drill ``name``, as it is played on the stack that runs here; without one, as on embedded.

    Raises:
        DrillError: There is none, or its file is wrong; the text says where and what is allowed.
    """
    if name not in files():
        raise DrillError(f"there is no drill {name[:40]!r}; there are: {', '.join(names())}")
    return read(files()[name], state.mode() or DEFAULT)


@cache
def read(path: Path, mode: str = DEFAULT) -> Drill:
    """The drill in a file, which has its name; what is in the table ``full`` replaces the rest on the real stack.

    Raises:
        DrillError: The file is wrong.
    """
    try:
        said = {**tomllib.loads(path.read_text()), "name": path.stem}
        drill = Drill.model_validate(said)
        real = Drill.model_validate(
            said | drill.full
        )  # a mistake in it is told wherever it is read
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DrillError(f"{path}: {error}") from error
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, each['loc'])) or 'the file'}: {each['msg']}"
            for each in error.errors()
        ]
        raise DrillError(
            f"{path} is no drill:\n" + "\n".join(f"  {each}" for each in wrong)
        ) from error
    return real if mode == "full" else drill
