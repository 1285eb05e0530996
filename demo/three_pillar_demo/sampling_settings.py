"""The rule by which the gateways sample traces, read from the variables ``TAIL_SAMPLING_*``.

The services read the same variables. The demo does not import the services; a test compares both.
"""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from three_pillars.settings import Settings


class SamplingSettings(Settings):
    """The variables ``TAIL_SAMPLING_*``, as ``services/common/tail_sampling.py`` has them."""

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
