"""Exemplars under tail sampling: only those whose trace the Collector is certain to keep.

A Collector that samples traces when they are complete drops most of them, and with the SDK's own
filter most exemplars would name a trace that does not exist. The SDK cannot know the Collector's
decision, but it can compute the part of the rule that is certain: a request that failed, a span
that is slow, and the share of trace ids whose hash is small enough. Counts and buckets stay exact,
because the filter chooses exemplars only.
"""

from dataclasses import dataclass
from fractions import Fraction

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import ExemplarFilter
from opentelemetry.trace import Span
from opentelemetry.util.types import Attributes

from .settings import ConfigurationError
from .variables import OpenTelemetryVariables

FNV_OFFSET_BASIS = 0xCBF29CE484222325
FNV_PRIME = 0x100000001B3
MAX_UINT64 = 2**64 - 1
"""The constants of the hash FNV-1a with 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/)."""

WHOLE_PERCENT = 100
MS_PER_S = 1_000
NS_PER_S = 1_000_000_000
SERVER_ERRORS = range(500, 600)
"""The statuses by which the Collector keeps a trace."""
STATUS_ATTRIBUTES = ("http.response.status_code", "status")
"""The attributes of the request metrics that hold the status of the response.

The first is that of ``http.server.request.duration``, the second that of ``<prefix>.requests``.
"""


@dataclass(frozen=True)
class TailSampling:
    """The rule by which the Collector keeps traces; ``deploy/collector/gateway.yaml`` has the same.

    It keeps every trace with a response of status 500 to 599, every trace that takes more than
    ``slow_ms`` milliseconds, and ``percentage`` percent of all traces.

    Attributes:
        percentage: The share of all traces that is kept, from 0 to 100.
        hash_salt: The text that is hashed before the trace id. It must not be empty, because the
            Collector would replace an empty one by a default of its own.
        slow_ms: The duration in milliseconds above which every trace is kept, 1 or more.

    Raises:
        ValueError: A value is outside of its range.
    """

    percentage: float
    hash_salt: str
    slow_ms: int

    def __post_init__(self) -> None:
        if not 0 <= self.percentage <= WHOLE_PERCENT:
            raise ValueError(f"percentage is {self.percentage}, and must be from 0 to 100")
        if not self.hash_salt:
            raise ValueError("hash_salt is empty")
        if self.slow_ms < 1:
            raise ValueError(f"slow_ms is {self.slow_ms}, and must be 1 or more")


class KeptTracesFilter(ExemplarFilter):
    """Offers a measurement as an exemplar only if the Collector is certain to keep its trace."""

    def __init__(self, rule: TailSampling) -> None:
        self._salted = fnv1a(FNV_OFFSET_BASIS, rule.hash_salt.encode())
        # The Collector computes with 64 bits of precision, so its limit is this or one more.
        self._limit = int(MAX_UINT64 * Fraction(rule.percentage / WHOLE_PERCENT))
        # The Collector compares whole milliseconds.
        self._slow_seconds = (rule.slow_ms + 1) / MS_PER_S

    def should_sample(
        self,
        value: float,  # noqa: ARG002  (the signature is the SDK's)
        time_unix_nano: int,
        attributes: Attributes,
        context: Context,
    ) -> bool:
        """Return whether the trace of the current span will be kept."""
        span = trace.get_current_span(context)
        span_context = span.get_span_context()
        if not span_context.trace_flags.sampled:
            return False
        return self.is_kept(
            span_context.trace_id, _status(attributes), _seconds_since_start(span, time_unix_nano)
        )

    def is_kept(self, trace_id: int, status: int, seconds: float) -> bool:
        """Return whether the Collector keeps the trace of a request.

        It was answered with ``status`` (0 if it is not known), and took at least ``seconds``.
        """
        return (
            status in SERVER_ERRORS or seconds >= self._slow_seconds or self.is_in_share(trace_id)
        )

    def is_in_share(self, trace_id: int) -> bool:
        """Return whether ``trace_id`` belongs to the share of traces that is always kept.

        This is the Collector's policy ``probabilistic``: FNV-1a of the salt and the 16 bytes of the
        trace id, compared with the share of all 64-bit numbers.
        """
        return fnv1a(self._salted, trace_id.to_bytes(16)) <= self._limit


def kept_traces_filter(
    rule: TailSampling | None, variables: OpenTelemetryVariables
) -> ExemplarFilter | None:
    """Return the filter for ``rule``; None if OTEL_METRICS_EXEMPLAR_FILTER is to choose one.

    Raises:
        ConfigurationError: The variable asks for exemplars of all traces, of which ``rule`` drops
            most.
    """
    if rule is None or variables.metrics_exemplar_filter == "always_off":
        return None
    if variables.metrics_exemplar_filter == "always_on":
        raise ConfigurationError([_always_on_problem()])
    return KeptTracesFilter(rule)


def _always_on_problem() -> str:
    return (
        "OTEL_METRICS_EXEMPLAR_FILTER=always_on: exemplars would name traces that tail sampling "
        "drops (leave it unset, or trace_based or always_off)"
    )


def fnv1a(state: int, data: bytes) -> int:
    """Return the FNV-1a hash with 64 bits of ``data``, continued from ``state``."""
    for byte in data:
        state = ((state ^ byte) * FNV_PRIME) & MAX_UINT64
    return state


def _status(attributes: Attributes) -> int:
    """Return the status in ``attributes``, those of a request metric; 0 if they have none.

    The span of a request has its status too, by which the Collector keeps it.
    """
    for name in STATUS_ATTRIBUTES:
        status = str((attributes or {}).get(name, ""))
        if status.isdecimal():
            return int(status)
    return 0


def _seconds_since_start(span: Span, time_unix_nano: int) -> float:
    """Return for how long ``span``, which has not ended, lasts; 0 if its start is not known.

    The start of a span and the time of a measurement come from the same clock.
    """
    start_ns = getattr(span, "start_time", None)
    return 0.0 if start_ns is None else (time_unix_nano - start_ns) / NS_PER_S
