"""The TOML files of the drills: their schema, and how they are found, read and validated."""

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
    """Return the folders that hold drill files.

    They are ``scenarios/`` and the folder that the environment variable ``DEMO_DRILLS`` names. If
    both hold a file of the same name, the file in the folder of ``DEMO_DRILLS`` is used.
    """
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
"""The reasons that a player can give for an incident, each with its meaning.

The choice is fixed, so that answers can be graded.
"""

Sentence = Annotated[str, StringConstraints(min_length=10, max_length=600)]
CardWithPrice = Annotated[str, StringConstraints(pattern=r"^[a-z]+(-[a-z]+)?(@\d+\.\d\d)?$")]


class DrillError(Exception):
    """A drill does not exist, its file is invalid, or it cannot run now; the message says why."""


class DrillTable(BaseModel):
    """Base class of the models for a drill's TOML file and its tables; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Customers(DrillTable):
    """The table ``customers``: the load that a drill sends to the shop.

    ``rate`` is in purchases per second. ``mix`` maps each card to its weight in the random choice.
    A card is a name such as ``visa``. A price can follow the name, as in ``declined@0.50``: the
    basket then holds one item at the price of 0.50.
    """

    rate: float = Field(gt=0, le=50)
    mix: dict[CardWithPrice, float] = Field(min_length=1)


class PaymentFault(DrillTable):
    """The faults inside payment; ``services/payment/faults.py`` says what each key does.

    The latencies are in seconds, and ``failure_rate`` is a share from 0 to 1. A key that is None
    changes nothing.
    """

    failure_rate: float | None = Field(None, ge=0, le=1)
    latency_min: float | None = Field(None, ge=0, le=10)
    latency_max: float | None = Field(None, ge=0, le=10)
    slow_network: Literal["visa", "mastercard", "amex"] | None = None


class CheckoutFault(DrillTable):
    """The faults inside checkout, which ``services/checkout/faults.py`` implements."""

    attempts: int | None = Field(
        None, ge=2, le=10, description="How often a failing call to payment is made in all"
    )
    max_two_connections: Literal[True] | None = Field(
        None, description="All calls to payment share two connections"
    )
    order_id_label: Literal[True] | None = Field(
        None, description="A counter of orders has the order id as a label"
    )
    block: float | None = Field(
        None, gt=0, le=1, description="Seconds for which each request blocks the event loop"
    )


class Fault(DrillTable):
    """The table ``fault``: everything that a drill breaks."""

    payment: PaymentFault = PaymentFault()
    checkout: CheckoutFault = CheckoutFault()
    customers: dict[str, float] = Field(
        {}, description="The mix of cards during the fault, in place of ``customers.mix``"
    )
    drop_context: bool = Field(
        default=False, description="A proxy in front of payment drops the header traceparent"
    )
    second_version: str = Field(
        "",
        pattern=r"^(\d+\.\d+\.\d+)?$",
        description="Half of the calls go to a second payment process of this version",
    )
    crash_over: float | None = Field(
        None, gt=0, description="The second payment process crashes on amounts over this one"
    )
    clock_ahead: float = Field(
        0.0, ge=0, le=60, description="How many seconds the second payment's clock is ahead"
    )
    lock_store: bool = Field(
        default=False, description="Another connection holds the lock of the local store's file"
    )
    stop: tuple[Literal["payment", "loki"], ...] = Field(
        (), description="Components that are killed while the fault lasts"
    )


class ExpectedAlerts(DrillTable):
    """The table ``alerts``: the alerts of ``config/alerts.yml`` that must fire, and no others.

    The alerts are checked only if the stack runs in the mode ``full``, which includes Prometheus.
    """

    fire: tuple[str, ...] = Field((), description="The names of the alerts that must fire")
    shrink: int = Field(
        60, ge=1, le=120, description="The number by which the windows of the rules are divided"
    )
    pipeline: bool = Field(
        default=False,
        description="Also evaluate the rules about the Collector, which reports every 5 s",
    )


class ExpectedAnswer(DrillTable):
    """The table ``answer``: the accepted words for each part of the answer, and an explanation.

    A player names one word for each of ``what``, ``where`` and ``why``.
    """

    what: tuple[str, ...] = Field(
        min_length=1, description="Accepted words for the component, or customers"
    )
    where: tuple[str, ...] = Field(
        min_length=1, description="Accepted words for the service, route, version, metric or card"
    )
    why: str = Field(description="The reason, one of REASONS")
    because: Sentence = Field(description="How the telemetry shows that this is the cause")

    @model_validator(mode="after")
    def _reason_is_known(self) -> Self:
        if self.why not in REASONS:
            raise ValueError(f"why is one of: {', '.join(REASONS)}")
        return self


class Drill(DrillTable):
    """One drill: the content of its file; ``name`` is the name of the file without suffix."""

    name: str
    pain: Annotated[
        str,
        StringConstraints(min_length=10, max_length=80),
        Field(description="One line that says what people notice; `demo drill list` shows it"),
    ]
    former_name: str = Field(
        "", description="Another name by which `demo drill` accepts the drill; it is never shown"
    )
    story: Sentence = Field(description="The text of the page that the player gets")
    modes: tuple[Literal["local", "full"], ...] = Field(
        ("local", "full"), min_length=1, description="The modes of the stack in which it can run"
    )
    customers: Customers
    fault: Fault
    within: float = Field(
        gt=0, le=120, description="Seconds after the start of the fault until the symptom at most"
    )
    symptom: Condition = Field(description="When it is met, the player is paged")
    evidence: tuple[Condition, ...] = Field(
        min_length=1, description="What shows the cause: all must be met while the fault lasts"
    )
    decoys: tuple[Condition, ...] = Field(
        min_length=1, description="What would show another cause: none may be met"
    )
    alerts: ExpectedAlerts
    hints: tuple[Sentence, Sentence, Sentence]
    answer: ExpectedAnswer
    fix: Sentence = Field(description="What would remove the cause in a real shop")
    page: str = Field(
        pattern=r"^/", description="The page of the web UI that shows the incident, as a URL path"
    )
    runbook: str = Field(
        "",
        pattern=r"^(docs/[\w/.-]+\.md(#[\w-]+)?)?$",
        description="The section of the runbook to read afterwards, if one fits",
    )
    full: dict[str, Any] = Field({}, description="Tables that replace the others in full mode")

    @property
    def conditions(self) -> list[Condition]:
        """All conditions of the drill: the symptom, the evidence and the decoys."""
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
    """Return a map from the name of each drill to the path of its file."""
    return {
        path.stem: path for folder in SCENARIO_FOLDERS for path in sorted(folder.glob("*.toml"))
    }


def names() -> list[str]:
    """Return the names of all drills, sorted."""
    return sorted(files())


def load(name: str) -> Drill:
    """Return the drill ``name`` for the mode of the running stack.

    ``name`` may also be the former name of a drill. If no stack is running, the mode is local.

    Raises:
        DrillError: There is no such drill, and the message lists all drills. Or the file is
            invalid, and the message says where and why.
    """
    mode = state.mode() or DEFAULT
    paths = files()
    if name in paths:
        return read(paths[name], mode)
    for path in paths.values():
        drill = read(path, mode)
        if name and name == drill.former_name:
            return drill
    raise DrillError(f"there is no drill {name[:40]!r}; there are: {', '.join(names())}")


@cache
def read(path: Path, mode: str = DEFAULT) -> Drill:
    """Return the drill in the file ``path``, for the stack's ``mode``: ``local`` or ``full``.

    The file's name without suffix is the name of the drill. For the mode ``full``, the tables below
    the key ``full`` replace the tables of the same name. The tables below ``full`` are validated in
    both modes, so that a mistake is always reported.

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
    """Return one indented line for each validation error: the key in the file, and the message."""
    lines = []
    for problem in error.errors():
        place = ".".join(map(str, problem["loc"])) or "the file"
        lines.append(f"  {place}: {problem['msg']}")
    return "\n".join(lines)
