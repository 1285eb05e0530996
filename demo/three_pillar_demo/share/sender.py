"""Sends export requests to an OTLP endpoint, and counts what it accepts and what it rejects."""

import asyncio
import time
from collections import Counter
from typing import Any

import httpx2

from three_pillar_demo.share.batches import ExportBatch
from three_pillar_demo.share.records import to_int

TIMEOUT_S = 15.0
"""The time limit of one request, in seconds."""
RETRY_FOR_S = 30.0
"""How long an endpoint may be busy, in seconds, before the import is given up."""
MAX_WAIT_S = 5.0
MAX_REASON = 300
"""The number of characters of a reason that are kept."""
TOO_BUSY = {429, 502, 503, 504}
"""The statuses after which OTLP says that a request may be sent again."""
REJECTED_FIELDS = ("rejectedSpans", "rejectedLogRecords", "rejectedDataPoints")


class EndpointError(Exception):
    """The endpoint does not answer, or is busy for too long; the message says why."""


class Sender:
    """Sends batches to the OTLP endpoint at ``url``; an open HTTP client must be given.

    ``accepted`` counts the records by the name of their signal, ``rejected`` by the reason.
    """

    def __init__(self, url: str, http: httpx2.AsyncClient) -> None:
        self.url = url
        self.http = http
        self.accepted = Counter[str]()
        self.rejected = Counter[str]()

    async def send(self, batch: ExportBatch) -> None:
        """Send a batch. If it is refused as a whole, send its halves, so that the rest is kept.

        Raises:
            EndpointError: The endpoint does not answer, or is busy for ``RETRY_FOR_S``.
        """
        response = await self._post(batch)
        if response.is_success:
            self._count(batch, _json(response))
        elif len(batch.records) > 1:
            for half in batch.halves():
                await self.send(half)
        else:
            reason = str(_json(response).get("message") or f"status {response.status_code}")
            self.rejected[f"{batch.signal.noun}: {reason[:MAX_REASON]}"] += 1

    def _count(self, batch: ExportBatch, answer: dict[str, Any]) -> None:
        partial = answer.get("partialSuccess")
        partial = partial if isinstance(partial, dict) else {}
        rejected = sum(to_int(partial.get(name)) for name in REJECTED_FIELDS)
        if rejected:
            reason = str(partial.get("errorMessage") or "no reason given")[:MAX_REASON]
            self.rejected[reason.removeprefix("rejected: ")] += rejected
        # Of metrics, data points are rejected, of which a metric may have several.
        self.accepted[batch.signal.name] += max(0, len(batch.records) - rejected)

    async def _post(self, batch: ExportBatch) -> httpx2.Response:
        body = batch.body()
        url = f"{self.url}/v1/{batch.signal.name}"
        deadline = time.monotonic() + RETRY_FOR_S
        while True:
            try:
                response = await self.http.post(
                    url,
                    content=body,
                    headers={"content-type": "application/json"},
                    timeout=TIMEOUT_S,
                )
            except httpx2.HTTPError as error:
                reason = str(error) or type(error).__name__
                raise EndpointError(f"{self.url} does not answer: {reason}") from error
            if response.status_code not in TOO_BUSY:
                return response
            wait_s = min(to_int(response.headers.get("retry-after")) or 1, MAX_WAIT_S)
            if time.monotonic() + wait_s > deadline:
                reason = _json(response).get("message") or f"status {response.status_code}"
                raise EndpointError(f"{self.url} is busy for over {RETRY_FOR_S:g} s: {reason}")
            await asyncio.sleep(wait_s)


def _json(response: httpx2.Response) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
