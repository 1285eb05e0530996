"""The drill files: their schema, and how they are found, read and validated."""

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

from three_pillar_demo.drills.conditions import Condition
from three_pillar_demo.stack import state
from three_pillar_demo.stack.components import DEFAULT


def _scenario_folders() -> tuple[Path, ...]:
    """Return the folders that hold drill files; a later folder overrides an earlier one."""
    own = Path(__file__).parent / "scenarios"
    configured = os.environ.get("DEMO_DRILLS")
    return (own, Path(configured)) if configured else (own,)


SCENARIO_FOLDERS = _scenario_folders()

REASONS = {
    "slow-gateway": "a gateway that payment calls has become slow",
    "failing-gateway": "the bank's gateway does not answer",
    "card-testers": "somebody is testing stolen cards",
    "process-gone": "a process is not running",
    "bad-release": "a new version has a bug",
    "eager-retries": "a client retries at once, again and again",
    "small-pool": "the connection pool is too small for the number of calls",
    "synchronous-call": "a blocking call holds up every request",
    "lost-context": "an intermediary drops the trace context",
    "unbounded-label": "a metric has a label with unbounded values",
    "stuck-telemetry": "telemetry cannot be stored",
    "wrong-clock": "a host's clock is wrong",
    "too-many-customers": "there are more requests than the shop can serve",
    "bad-input": "clients send invalid requests",
}
"""The reasons that an answer may give: a fixed choice, so that answers can be graded."""

Sentence = Annotated[str, StringConstraints(min_length=10, max_length=600)]
CardWithPrice = Annotated[str, StringConstraints(pattern=r"^[a-z]+(-[a-z]+)?(@\d+\.\d\d)?$")]


class DrillError(Exception):
    """A drill does not exist, its file is invalid, or it cannot run now; the text says why."""


class DrillTable(BaseModel):
    """A table of a drill file; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Customers(DrillTable):
    """The load: ``rate`` in requests per second, and the weight of each card in ``mix``.

    A card is a name such as ``visa``, or ``declined@0.50`` for a basket of one item at that price.
    """

    rate: float = Field(gt=0, le=50)
    mix: dict[CardWithPrice, float] = Field(min_length=1)


class PaymentFault(DrillTable):
    """Faults inside payment, with the names of ``services/payment/faults.py``."""

    failure_rate: float | None = Field(None, ge=0, le=1)
    latency_min: float | None = Field(None, ge=0, le=10)
    latency_max: float | None = Field(None, ge=0, le=10)
    slow_network: Literal["visa", "mastercard", "amex"] | None = None


class CheckoutFault(DrillTable):
    """Faults inside checkout, with the names of ``services/checkout/faults.py``."""

    attempts: int | None = Field(None, ge=2, le=10)
    max_two_connections: Literal[True] | None = None
    order_id_label: Literal[True] | None = None
    block: float | None = Field(None, gt=0, le=1)


class Fault(DrillTable):
    """Everything that the drill breaks."""

    payment: PaymentFault = PaymentFault()
    checkout: CheckoutFault = CheckoutFault()
    customers: dict[str, float] = Field({}, description="Another mix of cards")
    drop_context: bool = Field(
        default=False, description="A proxy before payment drops traceparent"
    )
    second_version: str = Field(
        "",
        pattern=r"^(\d+\.\d+\.\d+)?$",
        description="Half of the calls go to a second payment process of this version",
    )
    crash_over: float | None = Field(
        None, gt=0, description="The second version crashes on amounts over this one"
    )
    clock_ahead: float = Field(
        0.0, ge=0, le=60, description="How many seconds payment's clock is ahead"
    )
    lock_store: bool = Field(
        default=False, description="Another connection holds the lock of the local store's file"
    )
    stop: tuple[Literal["payment", "loki"], ...] = Field(
        (), description="Components that are killed"
    )


class ExpectedAlerts(DrillTable):
    """In full mode: the alerts of alerts.yml that must fire, and no others.

    The windows of the rules are made ``shrink`` times shorter.
    """

    fire: tuple[str, ...] = ()
    shrink: int = Field(60, ge=1, le=120)
    pipeline: bool = Field(
        default=False,
        description="Also evaluate the rules about the Collector, which reports every 5 s",
    )


class ExpectedAnswer(DrillTable):
    """The correct answer: for each part the accepted words, and the explanation."""

    what: tuple[str, ...] = Field(min_length=1, description="The component")
    where: tuple[str, ...] = Field(min_length=1, description="The service, route, version or card")
    why: str = Field(description="One of REASONS")
    because: Sentence = Field(description="How the telemetry shows it")

    @model_validator(mode="after")
    def _reason_is_known(self) -> Self:
        if self.why not in REASONS:
            raise ValueError(f"why is one of: {', '.join(REASONS)}")
        return self


class Drill(DrillTable):
    """One incident."""

    name: str
    pain: Annotated[str, StringConstraints(min_length=10, max_length=80)]
    story: Sentence
    modes: tuple[Literal["local", "full"], ...] = Field(("local", "full"), min_length=1)
    customers: Customers
    fault: Fault
    within: float = Field(gt=0, le=120, description="Seconds in which the symptom must appear")
    symptom: Condition
    evidence: tuple[Condition, ...] = Field(min_length=1)
    decoys: tuple[Condition, ...] = Field(min_length=1)
    alerts: ExpectedAlerts
    hints: tuple[Sentence, Sentence, Sentence]
    answer: ExpectedAnswer
    fix: Sentence
    page: str = Field(pattern=r"^/")
    runbook: str = Field(pattern=r"^docs/[\w/.-]+\.md(#[\w-]+)?$")
    full: dict[str, Any] = Field({}, description="Tables that replace the others in full mode")

    @property
    def conditions(self) -> list[Condition]:
        """The symptom, the evidence and the decoys."""
        return [self.symptom, *self.evidence, *self.decoys]

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        for condition in self.conditions:
            has_limit = condition.over is not None or condition.under is not None
            if not condition.says or not has_limit:
                raise ValueError(
                    f"a condition ({condition.ask}) needs `says`, and `over` or `under`"
                )
        if self.fault == Fault():
            raise ValueError("the fault is empty: nothing would be broken")
        return self


def files() -> dict[str, Path]:
    """Return the path of each drill file by the name of its drill."""
    return {
        path.stem: path for folder in SCENARIO_FOLDERS for path in sorted(folder.glob("*.toml"))
    }


def names() -> list[str]:
    """Return the names of all drills, sorted."""
    return sorted(files())


def load(name: str) -> Drill:
    """Return the drill ``name`` in the mode of the running stack, or in local mode without one.

    Raises:
        DrillError: No such drill exists, or its file is invalid; the text says where and what is
            allowed.
    """
    if name not in files():
        raise DrillError(f"there is no drill {name[:40]!r}; there are: {', '.join(names())}")
    return read(files()[name], state.mode() or DEFAULT)


@cache
def read(path: Path, mode: str = DEFAULT) -> Drill:
    """Read a drill file; the drill is named after it.

    In full mode the tables in ``full`` replace those of the same name. They are validated in every
    mode, so that a mistake in them is reported wherever the file is read.

    Raises:
        DrillError: The file is invalid.
    """
    try:
        content = {**tomllib.loads(path.read_text()), "name": path.stem}
        local = Drill.model_validate(content)
        full = Drill.model_validate(content | local.full)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DrillError(f"{path}: {error}") from error
    except ValidationError as error:
        raise DrillError(f"{path} is not a valid drill:\n{_problems(error)}") from error
    return full if mode == "full" else local


def _problems(error: ValidationError) -> str:
    """Return one indented line for each validation error: its place and the message."""
    lines = []
    for problem in error.errors():
        place = ".".join(map(str, problem["loc"])) or "the file"
        lines.append(f"  {place}: {problem['msg']}")
    return "\n".join(lines)
