"""The rule by which the Collector samples traces, from the variables that its gateway reads too."""

from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from three_pillars import TailSampling
from three_pillars.settings import Settings


class TailSamplingSettings(Settings):
    """The variables ``TAIL_SAMPLING_PERCENTAGE`` etc., which ``deploy/collector/gateway.yaml`` has.

    Both must be started with the same values.
    """

    model_config = SettingsConfigDict(env_prefix="TAIL_SAMPLING_")

    percentage: float | None = Field(
        None,
        ge=0,
        le=100,
        description="percent of all traces that the Collector keeps, 0 to 100; unset: all are kept",
    )
    hash_salt: str = Field(
        "three-pillars",
        pattern=r"^[A-Za-z][\w-]*$",
        description="a word of letters, digits, _ and -",
    )
    slow_ms: int = Field(
        1000,
        ge=1,
        le=3_600_000,
        description="milliseconds above which every trace is kept, 1 to 3600000",
    )

    @model_validator(mode="after")
    def _nothing_without_a_percentage(self) -> Self:
        """Raise ValueError if a field is set that has no effect."""
        if self.percentage is None and self.model_fields_set:
            raise ValueError(f"no effect without {self.variable('percentage')}")
        return self

    def rule(self) -> TailSampling | None:
        """Return the rule, or None if the Collector keeps all traces."""
        if self.percentage is None:
            return None
        return TailSampling(self.percentage, self.hash_salt, self.slow_ms)
