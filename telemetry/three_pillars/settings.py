"""A base class for settings from environment variables, and the error for invalid variables."""

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

from pydantic import ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

MAX_VALUE_SHOWN = 80
"""The most characters of an invalid value that an error message repeats."""


class ConfigurationError(Exception):
    """Environment variables have invalid values; ``problems`` has one line for each error.

    A line names the variable, its value and what is allowed. A program's ``main`` can write
    ``str(error)``, which contains all lines, to stderr and end with exit code 2.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class Settings(BaseSettings):
    """Base class of settings: each field is read from the environment variable PREFIX + FIELD.

    A subclass sets the prefix in ``model_config`` as ``env_prefix``. The description of each field
    says which values are allowed. The error message and the generated reference contain the
    description.
    """

    model_config = SettingsConfigDict(frozen=True)

    former_names: ClassVar[dict[str, str]] = {}
    """The former name of the environment variable, by field name.

    For one release the former name is still accepted, with a warning.
    """

    former_prefix: ClassVar[str] = ""
    """The former ``env_prefix`` of all variables, or empty if there is none.

    For one release names with the former prefix are still accepted, with a warning.
    """

    @classmethod
    def load(cls) -> Self:
        """Return the settings that the environment variables give; accept their former names too.

        Raises:
            ConfigurationError: Variables have invalid values.
        """
        cls._rename_former_variables()
        try:
            return cls()
        except ValidationError as error:
            problems = [cls._describe(problem) for problem in error.errors()]
            # A field of several types has one problem for each type.
            raise ConfigurationError(list(dict.fromkeys(problems))) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  (the signature is pydantic's)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources of values: arguments and the environment, but no files."""
        return init_settings, env_settings

    @model_validator(mode="before")
    @classmethod
    def _blank_is_unset(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Remove blank values, which count as unset, as in OpenTelemetry's specification."""
        return {name: value for name, value in values.items() if str(value).strip()}

    @classmethod
    def variable(cls, field: str) -> str:
        """Return the name of the environment variable of ``field``."""
        return f"{cls.model_config.get('env_prefix', '')}{field}".upper()

    @classmethod
    def _describe(cls, problem: ErrorDetails) -> str:
        """Return the error line for one validation error of pydantic."""
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
        """Move values from former to current names in ``os.environ``, with a warning on stderr.

        Worker processes inherit the current names, so that the warning is not repeated. If both
        the former and the current name are set, the value of the current name is kept.
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
        """Yield a pair for each renamed variable: its former and its current name."""
        for field, former in cls.former_names.items():
            yield former, cls.variable(field)
        if cls.former_prefix:
            for field in cls.model_fields:
                yield f"{cls.former_prefix}{field}".upper(), cls.variable(field)


def shown(value: str, *, secret: bool = False) -> str:
    """Return ``value`` as an error message shows it: escaped, and cut to ``MAX_VALUE_SHOWN``.

    The result is ``...`` if ``secret`` is true, or if ``value`` contains an ``@``, because it may
    then be a URL with a password.
    """
    if secret or "@" in value:
        return "..."
    return ascii(value)[1:-1][:MAX_VALUE_SHOWN]
