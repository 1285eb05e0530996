"""What both servers of the store do with an export request: decode it, store it, answer it."""

import asyncio
from contextlib import suppress

from google.protobuf.message import Message

from three_pillar_demo.local_store.export_request import SIGNALS, decode_request
from three_pillar_demo.local_store.otlp.batch import Batch
from three_pillar_demo.local_store.rejection_log import RejectionLog
from three_pillar_demo.local_store.writer import QueueFullError, Writer

BODY_TIMEOUT_S = 10.0
"""Seconds that the body of a request may take to arrive."""
MAX_CONCURRENT_DECODES = 1
"""The number of requests decoded at the same time.

The limit saves memory: the records decoded from a body can take ninety times the size of the body.
"""


class Intake:
    """Decodes export requests and stores them with ``writer``, for all servers of the process."""

    def __init__(self, writer: Writer) -> None:
        """Create the intake of one event loop."""
        self.writer = writer
        self.rejections = RejectionLog()
        self._decode_slots = asyncio.Semaphore(MAX_CONCURRENT_DECODES)

    async def store(self, signal_name: str, body: bytes, encoding: str, media_type: str) -> Message:
        """Store the request ``body``, and return the OTLP response once it is committed.

        The arguments are those of ``decode_request``. The caller counts the bytes of ``body``
        with ``writer.reserve``.

        Raises:
            RequestError: The body cannot be decompressed or parsed.
            QueueFullError: The write queue is full.
            WriteError: The batch could not be stored.
        """
        batch = await self._decode(signal_name, body, encoding, media_type)
        await self.writer.put(batch)
        self.rejections.record(signal_name, batch)
        return _success(signal_name, batch)

    async def _decode(self, signal_name: str, body: bytes, encoding: str, media_type: str) -> Batch:
        """Decode ``body`` in a thread, and return the result.

        A thread cannot be cancelled. If the caller is, the decoding goes on, and until its end
        nothing else is decoded, and the bytes of ``body`` count as queued.
        """
        await self._decode_slots.acquire()
        decoding = asyncio.ensure_future(
            asyncio.to_thread(decode_request, signal_name, body, encoding, media_type)
        )
        decoding.add_done_callback(self._free_slot)
        try:
            return await asyncio.shield(decoding)
        except asyncio.CancelledError:
            if not decoding.done():
                self._count_until_done(decoding, len(body))
            raise

    def _free_slot(self, decoding: "asyncio.Future[Batch]") -> None:
        self._decode_slots.release()
        if not decoding.cancelled():
            decoding.exception()  # asyncio would log an error that nobody has asked for

    def _count_until_done(self, decoding: "asyncio.Future[Batch]", size_bytes: int) -> None:
        with suppress(QueueFullError):  # the bytes are in memory in any case
            self.writer.reserve(size_bytes)
        decoding.add_done_callback(lambda _: self.writer.release(size_bytes))


def timeout_reason() -> str:
    """Return why a request is refused whose body takes too long."""
    return f"request body not received within {BODY_TIMEOUT_S:g} s"


def _success(signal_name: str, batch: Batch) -> Message:
    """Return the OTLP response to a stored batch.

    If records were rejected, the response contains their number and the most frequent reasons.
    """
    signal = SIGNALS[signal_name]
    message = signal.response_type()
    text = batch.partial_success_text()
    if text:
        partial_success = message.partial_success
        setattr(partial_success, signal.rejected_field, batch.rejected.total())
        partial_success.error_message = text
    return message
