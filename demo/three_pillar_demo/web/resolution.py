"""The resolution of the charts, and the grid of times on which their points lie."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Resolution:
    """The resolution of a chart.

    Attributes:
        step: The seconds between two points of the chart.
        window: The seconds over which each rate is computed.
    """

    step: float
    window: float


RESOLUTIONS = {
    5: Resolution(step=2.0, window=30.0),
    15: Resolution(step=6.0, window=60.0),
    60: Resolution(step=30.0, window=120.0),
}
"""The resolution of a chart, by the minutes that it shows."""


def on_grid(timestamp: float, step: float) -> float:
    """Return the last multiple of ``step`` at or before ``timestamp``, both in seconds."""
    return timestamp // step * step
