"""Which traces of a run the Collector keeps, if its gateways sample them.

The services and ``deploy/collector/gateway.yaml`` read the same variables ``TAIL_SAMPLING_*``.
The launcher of a cluster records them; elsewhere ``demo verify`` must be started with the same
values.
"""

import os
from dataclasses import dataclass
from typing import Protocol

from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.sampling_settings import SamplingSettings
from three_pillar_demo.stack import environment, state
from three_pillars.settings import ConfigurationError

MS_PER_S = 1_000


class KeptTraces(Protocol):
    """The rule of the gateways, which the library knows as well."""

    def is_kept(self, trace_id: int, status: int, seconds: float) -> bool:
        """Return whether a request is certain to keep its trace."""


@dataclass(frozen=True)
class Sampling:
    """What the gateways do with the traces of a run.

    Attributes:
        rule: Their rule, or None if they keep all traces.
        slow_s: The duration in seconds above which every trace is kept.
    """

    rule: KeptTraces | None = None
    slow_s: float = 0.0

    def is_kept(self, purchase: Purchase) -> bool:
        """Return whether the trace of ``purchase`` is certain to be kept.

        Every outcome with a span of status ERROR has a status of 500 or more.
        """
        return self.is_exemplar(purchase.trace_id, purchase.status)

    def is_dropped(self, purchase: Purchase) -> bool:
        """Return whether the trace of ``purchase`` is certain to be dropped.

        The customer waits at least as long as the longest span of a trace lasts.
        """
        is_fast = purchase.finished - purchase.started < self.slow_s
        return is_fast and not self.is_kept(purchase)

    def is_exemplar(self, trace_id: str, status: int) -> bool:
        """Return whether a service offers its answer ``status`` as an exemplar."""
        return self.rule is None or self.rule.is_kept(int(trace_id, 16), status, 0.0)


def _load_settings() -> SamplingSettings:
    run = state.running()
    recorded = run.tail_sampling if run else {}
    if not recorded:
        return SamplingSettings.load()
    problems = [
        f"{name}={os.environ[name]}: the running stack has {value}; unset the variable"
        for name, value in recorded.items()
        if os.environ.get(name, value) != value
    ]
    if problems:
        raise ConfigurationError(problems)
    fields = {
        name.removeprefix(environment.TAIL_SAMPLING).lower(): value
        for name, value in recorded.items()
    }
    return SamplingSettings.model_validate(fields)


def load_sampling() -> Sampling:
    """Return the sampling of the running stack, or that of the variables ``TAIL_SAMPLING_*``.

    Raises:
        ConfigurationError: A variable has an invalid value, or another one than the running stack.
    """
    settings = _load_settings()
    if settings.percentage is None:
        return Sampling()
    # OpenTelemetry's SDK takes long to import, and is needed only here.
    from three_pillars.tail_sampling import (  # noqa: PLC0415
        KeptTracesFilter,
        TailSampling,
    )

    rule = TailSampling(settings.percentage, settings.hash_salt, settings.slow_ms)
    return Sampling(KeptTracesFilter(rule), settings.slow_ms / MS_PER_S)
