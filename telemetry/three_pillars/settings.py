"""A process's own settings."""

import os
import sys
from typing import Self

from pydantic import ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from .environment import shown


class Settings(BaseSettings):
    """What a process takes from the variables with its prefix; each field's description says what is allowed."""

    model_config = SettingsConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _blank_is_unset(cls, values: dict[str, object]) -> dict[str, object]:
        return {name: value for name, value in values.items() if str(value).strip()}

    @classmethod
    def load(cls) -> Self:
        """Read the environment; a bad value ends the process, naming the variable, the value and what is allowed."""
        try:
            return cls()
        except ValidationError as error:
            prefix = cls.model_config.get("env_prefix", "")
            for problem in error.errors():
                field = str(problem["loc"][0]) if problem["loc"] else ""
                # A problem between two fields belongs to none: show all that were set.
                names = (
                    [prefix + field.upper()]
                    if field
                    else [each for each in os.environ if each.startswith(prefix)]
                )
                values = " ".join(f"{name}={shown(os.environ.get(name, ''))}" for name in names)
                hint = (
                    f" ({cls.model_fields[field].description})" if field in cls.model_fields else ""
                )
                sys.stderr.write(f"{values}: {problem['msg']}{hint}\n")
            sys.exit(2)
