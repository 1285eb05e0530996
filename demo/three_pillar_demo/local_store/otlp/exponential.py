"""The buckets of an exponential histogram: their checks, their scale, their sum and their JSON.

The bucket with the index i counts values above ``2 ** (i * 2 ** -scale)``, up to
``2 ** ((i + 1) * 2 ** -scale)``. Halving all indexes gives the buckets of the next lower scale.
https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram
"""

import json
import math
import sys
from dataclasses import dataclass
from typing import Any

MAX_BUCKETS = 500
"""The maximum number of buckets of an accepted point, for each sign; an SDK sends at most 160."""
MAX_MERGED_BUCKETS = 320
"""The maximum number of buckets, for each sign, of the sum of two points."""
MIN_SCALE = -10
MAX_SCALE = 20
MIN_EXPONENT = -1075
"""The upper bound of a bucket is over 2 to the power of this: the smallest double is 2 ** -1074."""
MAX_EXPONENT = 1024
"""The lower bound of a bucket is below 2 to the power of this, the end of the doubles."""

Counts = dict[int, int]
"""The number of observations by the index of the bucket, without empty buckets."""


@dataclass(frozen=True)
class Exponential:
    """The buckets of one point; the zero bucket counts values from -threshold to threshold."""

    scale: int
    zero_count: int
    threshold: float
    positive: Counts
    negative: Counts

    def to_json(self) -> str:
        """Return the JSON object that the column ``buckets`` of the table ``point`` contains.

        ``positive`` and ``negative`` are arrays of pairs: the index of a bucket, and its count.
        """
        fields = {
            "scale": self.scale,
            "zero": self.zero_count,
            "threshold": self.threshold,
            "positive": sorted(self.positive.items()),
            "negative": sorted(self.negative.items()),
        }
        return json.dumps(fields, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Exponential":
        """Return the buckets from the result of ``to_json``."""
        fields = json.loads(text)
        return cls(
            fields["scale"],
            fields["zero"],
            fields["threshold"],
            dict(fields["positive"]),
            dict(fields["negative"]),
        )

    def plus(self, other: "Exponential") -> "Exponential":
        """Return the sum of both, at the highest scale that both can have.

        The zero bucket of the sum is the larger one. Buckets that lie within it are added to it.
        """
        scale = min(self.scale, other.scale)
        positive = _sum(_at_scale(self, scale).positive, _at_scale(other, scale).positive)
        negative = _sum(_at_scale(self, scale).negative, _at_scale(other, scale).negative)
        total = Exponential(
            scale,
            self.zero_count + other.zero_count,
            max(self.threshold, other.threshold),
            positive,
            negative,
        )
        while max(_width(total.positive), _width(total.negative)) > MAX_MERGED_BUCKETS:
            total = _at_scale(total, total.scale - 1)
        return _with_full_zero_bucket(total)


def of_point(data_point: Any) -> Exponential:  # noqa: ANN401  (generated code)
    """Return the buckets of an ``ExponentialHistogramDataPoint``."""
    return Exponential(
        data_point.scale,
        data_point.zero_count,
        data_point.zero_threshold,
        _counts(data_point.positive),
        _counts(data_point.negative),
    )


def problem(data_point: Any) -> str:  # noqa: ANN401  (generated code)
    """Return why an ``ExponentialHistogramDataPoint`` is rejected; an empty string if it is valid.

    The counts of all buckets must add up to ``count``, and each bucket with a count must
    contain a double.
    """
    widths = (len(data_point.positive.bucket_counts), len(data_point.negative.bucket_counts))
    if max(widths) > MAX_BUCKETS:
        return f"over {MAX_BUCKETS} buckets"
    if not MIN_SCALE <= data_point.scale <= MAX_SCALE:
        return f"scale outside {MIN_SCALE} to {MAX_SCALE}"
    if not (math.isfinite(data_point.zero_threshold) and data_point.zero_threshold >= 0):
        return "zero_threshold is not a number from 0"
    total = data_point.zero_count
    for buckets in (data_point.positive, data_point.negative):
        total += sum(buckets.bucket_counts)
        counts = _counts(buckets)
        bucket_width = 2.0**-data_point.scale
        if counts and not (
            (min(counts) + 1) * bucket_width > MIN_EXPONENT
            and max(counts) * bucket_width < MAX_EXPONENT
        ):
            return "offset outside the range of numbers"
    if total != data_point.count:
        return "inconsistent buckets and count"
    return ""


def _counts(buckets: Any) -> Counts:  # noqa: ANN401  (generated code)
    return {
        buckets.offset + position: count
        for position, count in enumerate(buckets.bucket_counts)
        if count
    }


def _at_scale(buckets: Exponential, scale: int) -> Exponential:
    """Return the same counts at a lower or equal scale."""
    shift = buckets.scale - scale
    if not shift:
        return buckets
    return Exponential(
        scale,
        buckets.zero_count,
        buckets.threshold,
        _shifted(buckets.positive, shift),
        _shifted(buckets.negative, shift),
    )


def _shifted(counts: Counts, shift: int) -> Counts:
    result: Counts = {}
    for index, count in counts.items():
        result[index >> shift] = result.get(index >> shift, 0) + count
    return result


def _sum(first: Counts, second: Counts) -> Counts:
    result = dict(first)
    for index, count in second.items():
        result[index] = result.get(index, 0) + count
    return result


def _width(counts: Counts) -> int:
    return max(counts) - min(counts) + 1 if counts else 0


def _with_full_zero_bucket(buckets: Exponential) -> Exponential:
    """Return the buckets with those inside the zero bucket added to it.

    A bucket that the threshold divides is added as a whole, and the threshold becomes its end.
    """
    if not buckets.threshold:
        return buckets
    # The bucket that contains the threshold; the rounding of the logarithm may be off by one.
    first_outside = math.ceil(math.log2(buckets.threshold) * 2.0**buckets.scale - 1e-9)
    inside = [
        count
        for counts in (buckets.positive, buckets.negative)
        for index, count in counts.items()
        if index < first_outside
    ]
    if not inside:
        return buckets
    return Exponential(
        buckets.scale,
        buckets.zero_count + sum(inside),
        max(buckets.threshold, _lower_bound(first_outside, buckets.scale)),
        {index: count for index, count in buckets.positive.items() if index >= first_outside},
        {index: count for index, count in buckets.negative.items() if index >= first_outside},
    )


def _lower_bound(index: int, scale: int) -> float:
    """Return the lower bound of a positive bucket; the largest double if it is over all doubles."""
    exponent = index * 2.0**-scale
    return sys.float_info.max if exponent >= MAX_EXPONENT else float(2.0**exponent)
