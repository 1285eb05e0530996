"""What a visitor looks at. Every state of the page has an address, and there is no other state."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import urlencode

MINUTES = (5, 15, 60)
SEVERITIES = ("INFO", "WARN", "ERROR")
MAX_TEXT = 100
STEPS = 5
"""Of the tour."""


@dataclass(frozen=True)
class View:
    """One state.

    Attributes:
        minutes: How far back the charts go.
        service: Whose lines are shown; all when empty.
        severity: Of which level the lines are; all when empty.
        text: What the lines contain.
        failed: Whether only purchases that failed are shown.
        still: Whether the page stands still.
        tour: The tour's step; 0 when it is over, None when the address does not say.
    """

    minutes: int = MINUTES[0]
    service: str = ""
    severity: str = ""
    text: str = ""
    failed: bool = False
    still: bool = False
    tour: int | None = None

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Self:
        """Read an address' query; what it does not name is as it is by default.

        Raises:
            ValueError: Something is not allowed; the text says what is.
        """
        said = {name: query.get(name, "").strip() for name in cls.__dataclass_fields__}
        return cls(
            minutes=int(_one_of("minutes", said["minutes"] or str(MINUTES[0]), list(map(str, MINUTES)))),
            service=_matching("service", said["service"], r"[\w.-]{0,64}", "a name"),
            severity=_one_of("severity", said["severity"], ["", *SEVERITIES]),
            text=_matching("text", said["text"], rf"(?s).{{0,{MAX_TEXT}}}", f"at most {MAX_TEXT} characters"),
            failed=_one_of("failed", said["failed"], ["", "1"]) == "1",
            still=_one_of("still", said["still"], ["", "1"]) == "1",
            tour=int(_one_of("tour", said["tour"], list(map(str, range(STEPS + 1))))) if said["tour"] else None,
        )

    def query(self, **changes: object) -> str:
        """The address' query with ``changes``, without what is as by default; with its ``?``, or empty."""
        other = replace(self, **changes)  # type: ignore[arg-type]
        told = {
            name: int(value) if isinstance(value, bool) else value
            for name, field in self.__dataclass_fields__.items()
            if (value := getattr(other, name)) != field.default
        }
        return "?" + urlencode(told) if told else ""


def _one_of(name: str, said: str, allowed: list[str]) -> str:
    if said not in allowed:
        raise ValueError(f"{name} is one of: {', '.join(filter(None, allowed))}")
    return said


def _matching(name: str, said: str, pattern: str, allowed: str) -> str:
    if not re.fullmatch(pattern, said):
        raise ValueError(f"{name} is {allowed}")
    return said
