"""The base class of a process's settings, and the error that says which setting is wrong."""

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

from pydantic import ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

MAX_VALUE_SHOWN = 80
"""Characters of a refused value that a message repeats."""


class ConfigurationError(Exception):
    """Environment variables cannot be obeyed; each of ``problems`` is one line about one of them.

    A line names the variable, its value and what is allowed, so that a program's ``main`` can
    write ``str(error)`` to stderr and end with exit code 2.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class Settings(BaseSettings):
    """What a process takes from the environment variables that start with its prefix.

    A subclass sets ``env_prefix``. The description of each field says what is allowed; it is part
    of the error message and of the generated reference.
    """

    model_config = SettingsConfigDict(frozen=True)

    former_names: ClassVar[dict[str, str]] = {}
    """Former names of variables by field. They are accepted for one release, with a warning."""

    former_prefix: ClassVar[str] = ""
    """The former ``env_prefix`` of all variables; accepted for one release, with a warning."""

    @classmethod
    def load(cls) -> Self:
        """Read the environment.

        Raises:
            ConfigurationError: Variables have values that are not allowed.
        """
        cls._rename_former_variables()
        try:
            return cls()
        except ValidationError as error:
            problems = [cls._describe(problem) for problem in error.errors()]
            # A field of several types has one problem for each type.
            raise ConfigurationError(list(dict.fromkeys(problems))) from None

    @model_validator(mode="before")
    @classmethod
    def _blank_is_unset(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Leave out blank values: by OpenTelemetry's specification, and here, they are unset."""
        return {name: value for name, value in values.items() if str(value).strip()}

    @classmethod
    def variable(cls, field: str) -> str:
        """Return the name of the environment variable of ``field``."""
        return f"{cls.model_config.get('env_prefix', '')}{field}".upper()

    @classmethod
    def _describe(cls, problem: ErrorDetails) -> str:
        """Return the line about one problem that pydantic found."""
        if not problem["loc"]:
            # It lies between several fields, so all that are set are shown.
            names = [cls.variable(field) for field in cls.model_fields]
            values = [f"{name}={shown(os.environ[name])}" for name in names if name in os.environ]
            return f"{' '.join(values)}: {problem['msg']}"
        field = str(problem["loc"][0])
        name = cls.variable(field)
        allowed = cls.model_fields[field].description
        hint = f" ({allowed})" if allowed else ""
        return f"{name}={shown(os.environ.get(name, ''))}: {problem['msg']}{hint}"

    @classmethod
    def _rename_former_variables(cls) -> None:
        """Move the values of former variables to the current ones, with one warning line for each.

        They are moved in ``os.environ``, so that worker processes find the current names and the
        warning is not repeated. A current variable wins over its former name.
        """
        for former, current in cls.former_variables():
            value = os.environ.get(former, "")
            if value.strip():
                del os.environ[former]
                if not os.environ.get(current, "").strip():
                    os.environ[current] = value
                sys.stderr.write(
                    f"{former} was renamed to {current}; the next release ignores the former name\n"
                )

    @classmethod
    def former_variables(cls) -> Iterator[tuple[str, str]]:
        """Yield the former and the current name of each variable that was renamed."""
        for field, former in cls.former_names.items():
            yield former, cls.variable(field)
        if cls.former_prefix:
            for field in cls.model_fields:
                yield f"{cls.former_prefix}{field}".upper(), cls.variable(field)


def shown(value: str, *, secret: bool = False) -> str:
    """Return ``value`` for a message: on one line, shortened, and hidden if it may be a secret."""
    if secret or "@" in value:
        return "..."
    return ascii(value)[1:-1][:MAX_VALUE_SHOWN]
