"""The identity of a metric stream: a digest by which points of different streams stay apart.

Names of metrics and labels are not enough. Two OTLP names can become the same Prometheus name, and
two attribute values of different types the same label. So the digest covers what the OpenTelemetry
data model calls the identifying properties of a stream, exactly as they were sent.
https://opentelemetry.io/docs/specs/otel/metrics/data-model/#opentelemetry-protocol-data-model
"""

import hashlib
from collections.abc import Iterable
from typing import Any

DIGEST_BYTES = 16


class StreamIdentity:
    """The digest of what all points of one metric share; ``of`` adds what one point has."""

    def __init__(self, resource: Any, scope: Any, metric: Any, kind: str) -> None:  # noqa: ANN401  (generated code)
        """Take the resource, the scope, and the metric with its kind and temporality."""
        self.shared = hashlib.blake2b(digest_size=DIGEST_BYTES)
        metric_type = metric.WhichOneof("data")
        data = getattr(metric, metric_type)
        temporality = getattr(data, "aggregation_temporality", 0)
        texts = (scope.name, scope.version, metric.name, metric.unit, kind, str(temporality))
        self._add(self.shared, [text.encode() for text in texts])
        for attributes in (resource.attributes, scope.attributes):
            self._add(self.shared, _serialized(attributes))

    def of(self, data_point: Any, bounds: str) -> bytes:  # noqa: ANN401  (generated code)
        """Return the identity of the stream of a data point whose buckets have these ``bounds``."""
        digest = self.shared.copy()
        self._add(digest, [bounds.encode(), *_serialized(data_point.attributes)])
        return digest.digest()

    @staticmethod
    def _add(digest: "hashlib.blake2b", parts: Iterable[bytes]) -> None:
        # The lengths keep different parts apart whose concatenations are equal.
        for part in parts:
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        digest.update(b"end")


def _serialized(attributes: Iterable[Any]) -> list[bytes]:
    """Return attributes in an order that does not depend on the order of the sender."""
    return sorted(attribute.SerializeToString(deterministic=True) for attribute in attributes)
