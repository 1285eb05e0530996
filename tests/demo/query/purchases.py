"""Sends the telemetry of three purchases to the backends, for the contract tests."""

import secrets
import time
from typing import Any

import httpx2
from google.protobuf.message import Message
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.demo.local_store.messages import (
    attributes,
    counter,
    exemplar,
    histogram,
    histogram_point,
    log_record,
    log_request,
    metric_request,
    number_point,
    span,
    trace_request,
)
from tests.demo.local_store.stores import PROTOBUF
from tests.demo.query.meters import meter_request
from three_pillar_demo.query.interface import NANO

ROUTE = "/checkout"
EVENT = "checkout.finished"
PERIOD_S = 20
"""Seconds between the first and the last telemetry of the purchases."""
POINT_INTERVAL_S = 2
POINTS = PERIOD_S // POINT_INTERVAL_S
BOUNDS = (0.1, 0.5, 1.0)
GOOD_COUNTS = (30, 20, 10, 5)
"""The bucket counts of successful requests at the first point.

Each later point has one request more in the first bucket.
"""
BAD_COUNTS = (8, 8, 8, 8)
"""The bucket counts of failed requests at the first point.

Each later point has one request more in the second bucket.
"""
MILLISECOND = 1_000_000
CLIENT_TIMEOUT_S = 1.0


class Purchases:
    """Three purchases: one succeeds, one fails, and one gets its payment's answer too late.

    The attributes ``good``, ``failed`` and ``late`` are their trace ids.

    The names of the services are unique, so that other telemetry in the backends has no effect.
    ``start`` and ``end`` are in seconds since the epoch, ``start_ns`` is in nanoseconds.
    """

    def __init__(self) -> None:
        run = secrets.token_hex(4)
        # A name may have any characters.
        self.front = f'front-{run} "\U0001f600" \\'
        self.bank = f"bank-{run}"
        self.meter = f"meter-{run}"
        self.ahead = f"ahead-{run}"
        self.good = secrets.token_bytes(16)
        self.failed = secrets.token_bytes(16)
        self.late = secrets.token_bytes(16)
        self.start = time.time_ns() // NANO - PERIOD_S
        self.end = self.start + PERIOD_S
        self.start_ns = self.start * NANO

    def order_id(self, trace_id: bytes) -> str:
        """Return the order id of the purchase with this trace id."""
        return f"order-{trace_id.hex()}"

    def send(self, url: str) -> None:
        """Send all telemetry to ``url``, in separate requests by service and signal, as SDKs do."""
        with httpx2.Client(base_url=url, timeout=60, trust_env=False) as http:
            for signal_name, request in self._requests():
                response = http.post(
                    f"/v1/{signal_name}", content=request.SerializeToString(), headers=PROTOBUF
                )
                response.raise_for_status()

    def _requests(self) -> list[tuple[str, Message]]:
        front_spans: list[Span] = []
        bank_spans: list[Span] = []
        for trace_id, second, error, charge_s, charged in (
            (self.good, 1, False, 0.1, True),
            (self.failed, 5, True, 0.2, False),
            (self.late, 9, True, 3.0, True),
        ):
            *spans_of_front, span_of_bank = self._spans(
                trace_id, second, error=error, charge_s=charge_s, charged=charged
            )
            front_spans += spans_of_front
            bank_spans.append(span_of_bank)
        *early_bank_spans, late_bank_span = bank_spans
        front_records: list[LogRecord] = []
        bank_records: list[LogRecord] = []
        for trace_id, second, error in (
            (self.good, 1, False),
            (self.failed, 5, True),
            (self.late, 9, True),
        ):
            bank_record, front_record = self._log_records(trace_id, second, error=error)
            bank_records.append(bank_record)
            front_records.append(front_record)
        second_instance = counter(
            "orders_sold",
            number_point(
                5,
                at=self.start_ns + PERIOD_S * NANO,
                attributes=attributes(outcome="success"),
            ),
        )
        return [
            ("traces", trace_request(*front_spans, service=self.front)),
            ("traces", trace_request(*early_bank_spans, service=self.bank)),
            ("traces", trace_request(late_bank_span, service=self.bank)),
            ("traces", trace_request(self._span_ahead(), service=self.ahead)),
            ("logs", log_request(*front_records, service=self.front)),
            ("logs", log_request(self._record_ahead(), service=self.ahead)),
            ("logs", log_request(*bank_records, service=self.bank)),
            *(("metrics", self._metrics(number)) for number in range(POINTS)),
            ("metrics", metric_request(second_instance, service=self.front, instance="two")),
            *(("metrics", self._meters(number)) for number in range(POINTS)),
        ]

    def _spans(
        self, trace_id: bytes, second: int, *, error: bool, charge_s: float, charged: bool
    ) -> list[Span]:
        """Return the four spans of a purchase, parents first; the last one is from the bank.

        ``second`` is its start in seconds after ``start``, ``charge_s`` the duration of the charge.
        """
        at = self.start_ns + second * NANO
        ids = [secrets.token_bytes(8) for _ in range(4)]
        wait_s = min(charge_s, CLIENT_TIMEOUT_S)
        exception = Span.Event(
            name="exception",
            time_unix_nano=at,
            attributes=attributes(
                exception__type="shop.PaymentError", exception__message="no answer"
            ),
        )
        status = 500 if error else 200
        return [
            span(
                "POST /checkout",
                start=at,
                seconds=wait_s + 0.1,
                error=error,
                trace_id=trace_id,
                span_id=ids[0],
                attributes=attributes(http__route=ROUTE, http__response__status_code=status),
            ),
            span(
                "place order",
                start=at + MILLISECOND,
                seconds=wait_s + 0.05,
                error=error,
                trace_id=trace_id,
                span_id=ids[1],
                parent_span_id=ids[0],
                kind=Span.SPAN_KIND_INTERNAL,
                attributes=attributes(order__id=self.order_id(trace_id), order__amount=12.5),
                events=[exception] if error else [],
            ),
            span(
                "POST",
                start=at + 2 * MILLISECOND,
                seconds=wait_s,
                error=error,
                message="",
                trace_id=trace_id,
                span_id=ids[2],
                parent_span_id=ids[1],
                kind=Span.SPAN_KIND_CLIENT,
            ),
            span(
                "POST /charges",
                start=at + 3 * MILLISECOND,
                seconds=charge_s,
                error=not charged,
                trace_id=trace_id,
                span_id=ids[3],
                parent_span_id=ids[2],
            ),
        ]

    def _span_ahead(self) -> Span:
        """Return a request whose sender's clock is an hour ahead."""
        return span("GET /ahead", start=time.time_ns() + 3600 * NANO)

    def _record_ahead(self) -> LogRecord:
        """Return a record that is dated as far ahead as the Collector leaves its time as it is."""
        return log_record("written ahead", at=time.time_ns() + 240 * NANO)

    def _log_records(self, trace_id: bytes, second: int, *, error: bool) -> list[LogRecord]:
        """Return the bank's log record and the front's canonical log line of a purchase.

        ``second`` is its start in seconds after ``start``.
        """
        request_start = self.start_ns + second * NANO
        ids: dict[str, Any] = {"trace_id": trace_id, "span_id": secrets.token_bytes(8)}
        status = 500 if error else 200
        canonical_attributes = attributes(
            http__route=ROUTE,
            http__response__status_code=status,
            outcome="failed" if error else "success",
        )
        return [
            log_record(
                f"charging {self.order_id(trace_id)}", at=request_start + 4 * MILLISECOND, **ids
            ),
            log_record(
                f"POST {ROUTE} {status}",
                at=request_start + 900 * MILLISECOND,
                severity=17 if error else 9,
                attributes=canonical_attributes,
                observed_time_unix_nano=request_start + NANO,
                event_name=EVENT,
                flags=1,
                **ids,
            ),
        ]

    def _metrics(self, number: int) -> Message:
        """Return the front's metrics at point ``number`` (from 0), counted since an hour before."""
        point_time = self.start_ns + number * POINT_INTERVAL_S * NANO
        counted_since = self.start_ns - 3600 * NANO
        sold = [
            counter(
                "orders_sold",
                number_point(
                    100 + number,
                    at=point_time,
                    start=counted_since,
                    attributes=attributes(outcome=outcome),
                ),
            )
            for outcome in ("success", "failed")
        ]
        durations = histogram(
            "http.server.request.duration",
            self._histogram_point(number, 200, GOOD_COUNTS, 0, self.good),
            self._histogram_point(number, 504, BAD_COUNTS, 1, self.failed),
        )
        return metric_request(durations, *sold, service=self.front)

    def _meters(self, number: int) -> Message:
        """Return the metrics of the service ``meter`` at point ``number`` (from 0)."""
        point_time = self.start_ns + number * POINT_INTERVAL_S * NANO
        return meter_request(self.meter, number, point_time, self.start_ns - 3600 * NANO)

    def _histogram_point(
        self,
        number: int,
        status: int,
        first_counts: tuple[int, ...],
        growing_bucket: int,
        trace_id: bytes,
    ) -> HistogramDataPoint:
        """Return the request durations of one HTTP status; the last point has an exemplar."""
        point_time = self.start_ns + number * POINT_INTERVAL_S * NANO
        counts = list(first_counts)
        counts[growing_bucket] += number
        exemplars = []
        if number == POINTS - 1:
            value = 0.05 + growing_bucket * 0.25
            exemplars.append(exemplar(trace_id, value, at=point_time - NANO // 2))
        return histogram_point(
            counts,
            BOUNDS,
            at=point_time,
            start=self.start_ns - 3600 * NANO,
            total=float(sum(counts)),
            attributes=attributes(http__route=ROUTE, http__response__status_code=status),
            exemplars=exemplars,
        )
