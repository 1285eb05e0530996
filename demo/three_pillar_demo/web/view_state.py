"""What a visitor looks at. Every state of the page has an address, and there is no other state."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self
from urllib.parse import urlencode

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

MINUTES = (5, 15, 60)
SEVERITIES = ("INFO", "WARN", "ERROR")


class View(BaseModel):
    """One state; the descriptions say what an address may have."""

    model_config = ConfigDict(frozen=True)

    minutes: Annotated[
        Literal[5, 15, 60], BeforeValidator(int), Field(description="how far back: 5, 15 or 60")
    ] = 5
    service: str = Field("", pattern=r"^[\w.-]{0,64}$", description="whose lines: a name")
    severity: Literal["", "INFO", "WARN", "ERROR"] = Field(
        "", description="of which level lines are: INFO, WARN or ERROR"
    )
    text: str = Field("", max_length=100, description="what lines contain: at most 100 characters")
    failed: bool = Field(
        default=False, description="whether only purchases that failed are shown: 1"
    )
    still: bool = Field(default=False, description="whether the page stands still: 1")
    tour: int | None = Field(
        None, ge=0, le=5, description="the tour's step: 1 to 5, or 0 when it is over"
    )

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Self:
        """Read an address' query; what it does not name, or leaves empty, is as it is by default.

        Raises:
            ValueError: Something is not allowed; the text says what is.
        """
        try:
            return cls.model_validate(
                {name: said for name, value in query.items() if (said := value.strip())}
            )
        except ValidationError as error:
            name = str(error.errors()[0]["loc"][0])
            raise ValueError(f"{name} is {cls.model_fields[name].description}") from error

    def query(self, **changes: object) -> str:
        """The address' query with ``changes``, without what is as by default; with its ``?``, or empty."""
        told = self.model_copy(update=changes).model_dump(exclude_defaults=True)
        return (
            "?"
            + urlencode({name: int(v) if isinstance(v, bool) else v for name, v in told.items()})
            if told
            else ""
        )
