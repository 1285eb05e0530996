"""The state of the overview, which is kept only in the query parameters of its address."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self
from urllib.parse import urlencode

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from three_pillar_demo.query.log_search import MAX_SKIPPED
from three_pillar_demo.query.severity import LEVEL_NUMBERS
from three_pillar_demo.web.folding import Folding

MAX_SERVICE_NAME = 255
"""The longest name of a service, in characters, that has a page of its own."""
MINUTES = (5, 15, 60)
"""The time ranges that a visitor can choose, in minutes."""
SEVERITIES = tuple(LEVEL_NUMBERS)
"""The levels of log records that a visitor can choose."""


class ViewState(BaseModel):
    """What a visitor has chosen to see, one field for each query parameter of the address.

    The description of a field says which values are allowed.
    """

    model_config = ConfigDict(frozen=True)

    minutes: Annotated[Literal[5, 15, 60], BeforeValidator(int)] = Field(
        5, description="5, 15 or 60: the minutes that the charts and logs show"
    )
    service: str = Field(
        "",
        max_length=MAX_SERVICE_NAME,
        description="the name of the service that is shown, at most 255 characters",
    )
    severity: Literal["", "TRACE", "DEBUG", "INFO", "WARN", "ERROR"] = Field(
        "", description=f"{', '.join(SEVERITIES)}: the level of the logs that are shown"
    )
    text: str = Field(
        "",
        max_length=200,
        description="at most 200 characters that the logs contain: words, NAME=VALUE of "
        "attributes, or a trace id",
    )
    until: int = Field(
        0, ge=0, lt=2**63, description="nanoseconds since 1970: the logs shown are not newer"
    )
    skip: int = Field(
        0,
        ge=0,
        le=MAX_SKIPPED,
        description=f"a number up to {MAX_SKIPPED}: logs with exactly that time are left out",
    )
    search: str = Field(
        "",
        max_length=200,
        description="at most 200 characters: words, NAME=VALUE of attributes, or a trace id",
    )
    failed: bool = Field(default=False, description="1 to show only failed requests")
    slower: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="a number of seconds that the requests shown exceed",
    )
    before: int = Field(
        0, ge=0, lt=2**63, description="nanoseconds since 1970: the requests shown ended before"
    )
    fold: str = Field(
        "",
        max_length=4000,
        description="at most 100 span ids, separated by dots, whose rows are collapsed; after the "
        "word all, those that are not",
    )
    adjust: bool = Field(
        default=False, description="1 to adjust the times of services whose clocks disagree"
    )
    still: bool = Field(default=False, description="1 to pause the page")
    tour: int | None = Field(
        None, ge=0, le=5, description="a step of the tour, 1 to 5, or 0 to end the tour"
    )
    purchase: str = Field(
        "", pattern="^[0-9a-f]{0,16}$", description="the key of a purchase that the tour follows"
    )

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Self:
        """Parse the query parameters of an address.

        A missing or blank parameter gets the default of its field. The parameter ``toggle``, a span
        id, is what a button adds: it changes ``fold`` for this span.

        Raises:
            ValueError: A value is not allowed; the message says which values are.
        """
        # The name of a service may begin with a blank.
        values = {
            name: value if name == "service" else value.strip() for name, value in query.items()
        }
        values_given = {name: value for name, value in values.items() if value}
        if values.get("toggle"):
            folding = Folding.parse(values.get("fold", "")).toggled(values["toggle"])
            values_given["fold"] = str(folding)
        try:
            return cls.model_validate(values_given)
        except ValidationError as error:
            name = str(error.errors()[0]["loc"][0])
            raise ValueError(f"{name} must be {cls.model_fields[name].description}") from error

    def fields(self, **changes: object) -> dict[str, object]:
        """Return the query parameters of this state after ``changes`` of its fields.

        Fields with their default values are left out, and the purchase if no step of the tour is
        shown. Booleans are written as 1 and 0.
        """
        changed = self.model_copy(update=changes).model_dump(exclude_defaults=True)
        if not changed.get("tour"):
            changed.pop("purchase", None)
        return {
            name: int(value) if isinstance(value, bool) else value
            for name, value in changed.items()
        }

    def page_query(self) -> str:
        """Return the query string of links to other pages, which keep the time range alone."""
        return ViewState(minutes=self.minutes).query()

    def query(self, **changes: object) -> str:
        """Return the query string of this state after ``changes`` of its fields: ``?minutes=15``.

        Fields with their default values are left out. The result is "" if no field is left.
        """
        fields = self.fields(**changes)
        # A name that is not valid Unicode leads to nothing, but must not break the page.
        return f"?{urlencode(fields, errors='replace')}" if fields else ""
