"""Groups records into export requests of limited size."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from three_pillar_demo.share.records import Json, Record, Signal

MAX_BODY_BYTES = 1024**2
"""The size of a request's body, in bytes, that is not exceeded unless by a single record.

The local store and the Collector accept four times as much.
"""
MAX_RECORDS = 2_000
"""The number of records of one request."""


@dataclass
class ExportBatch:
    """The records of one export request, all of one signal."""

    signal: Signal
    records: list[Record] = field(default_factory=list)
    size_bytes: int = 0

    def body(self) -> bytes:
        """Return the request as OTLP JSON: neighbours with the same resource and scope together."""
        resources: list[Json] = []
        previous: Record | None = None
        for record in self.records:
            same_resource = previous is not None and previous.resource == record.resource
            if not same_resource:
                resources.append({"resource": record.resource, self.signal.scopes: []})
            scopes: list[Json] = resources[-1][self.signal.scopes]
            if not same_resource or previous is None or previous.scope != record.scope:
                scopes.append({"scope": record.scope, self.signal.records: []})
            scopes[-1][self.signal.records].append(record.value)
            previous = record
        return _to_json({self.signal.resources: resources})

    def halves(self) -> Iterator["ExportBatch"]:
        """Yield the first and the second half of the batch."""
        middle = len(self.records) // 2
        for records in (self.records[:middle], self.records[middle:]):
            yield ExportBatch(self.signal, records)


class Batcher:
    """Collects records, and yields a batch whenever one is full."""

    def __init__(self) -> None:
        self.batches: dict[str, ExportBatch] = {}

    def add(self, record: Record) -> Iterator[ExportBatch]:
        """Add a record; yield the batch of its signal if there is no more room in it."""
        signal = record.signal
        batch = self.batches.setdefault(signal.name, ExportBatch(signal))
        size_bytes = sum(
            len(_to_json(part)) for part in (record.resource, record.scope, record.value)
        )
        is_full = batch.size_bytes + size_bytes > MAX_BODY_BYTES
        if batch.records and (is_full or len(batch.records) == MAX_RECORDS):
            yield batch
            batch = ExportBatch(signal)
            self.batches[signal.name] = batch
        batch.records.append(record)
        batch.size_bytes += size_bytes

    def rest(self) -> Iterator[ExportBatch]:
        """Yield the batches that are not full."""
        yield from (batch for batch in self.batches.values() if batch.records)
        self.batches = {}


def _to_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()
