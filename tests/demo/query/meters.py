"""The metrics of every kind that the contract tests send, from a service of their own."""

from google.protobuf.message import Message
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Metric,
    Summary,
    SummaryDataPoint,
)

from tests.demo.local_store.messages import (
    CUMULATIVE,
    attributes,
    counter,
    gauge,
    metric_request,
    number_point,
)

ROOMS = ("cellar", "attic")
Buckets = ExponentialHistogramDataPoint.Buckets
QuantileValue = SummaryDataPoint.ValueAtQuantile


def meter_request(service: str, number: int, at: int, start: int) -> Message:
    """Return one point of each kind, number ``number`` (from 0), counted since ``start``.

    Two gauges fall to -10 and rise to 30; two up-down counters add up to 3. At each point, the
    exponential histogram has one more observation in its first bucket, from 1 to 2, and the
    summary four more.
    """
    temperature = gauge(
        "room.temperature",
        *(
            number_point(value, at=at, attributes=attributes(room=room))
            for room, value in zip(ROOMS, (-1.0 - number, 21.0 + number), strict=True)
        ),
    )
    temperature.unit = "Cel"
    temperature.description = "Temperature of a room"
    connections = counter(
        "connections.open",
        *(
            number_point(value, at=at, start=start, attributes=attributes(room=room))
            for room, value in zip(ROOMS, (1.0, 2.0), strict=True)
        ),
        monotonic=False,
    )
    sizes = ExponentialHistogramDataPoint(
        count=8 + number,
        sum=20.0,
        scale=0,
        positive=Buckets(offset=0, bucket_counts=[4 + number, 4]),
        time_unix_nano=at,
        start_time_unix_nano=start,
    )
    pauses = SummaryDataPoint(
        count=100 + 4 * number,
        sum=50.0,
        quantile_values=[
            QuantileValue(quantile=0.5, value=0.25),
            QuantileValue(quantile=0.999, value=2.5),
        ],
        time_unix_nano=at,
        start_time_unix_nano=start,
    )
    return metric_request(
        temperature,
        connections,
        Metric(
            name="body.size",
            unit="By",
            exponential_histogram=ExponentialHistogram(
                aggregation_temporality=CUMULATIVE,  # type: ignore[arg-type]
                data_points=[sizes],
            ),
        ),
        Metric(name="gc.pause", unit="s", summary=Summary(data_points=[pauses])),
        service=service,
    )
