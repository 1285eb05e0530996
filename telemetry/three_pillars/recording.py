"""The options of ``install()`` that say how requests are recorded."""

from dataclasses import dataclass

from .fast_paths import ALL
from .tail_sampling import TailSampling


@dataclass(frozen=True)
class Recording:
    """How requests are recorded.

    Attributes:
        fast_paths: The fast paths to use: ``all``, ``none``, or a comma-separated list of the field
            names of ``FastPaths``. They change nothing but the time that a request costs.
        tail_sampling: The rule by which the Collector keeps traces. Exemplars then name only traces
            that it is certain to keep. None if the Collector keeps all.
    """

    fast_paths: str = ALL
    tail_sampling: TailSampling | None = None


USUAL = Recording()
"""All fast paths, and a Collector that keeps all traces."""
