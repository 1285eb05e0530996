"""The steady load of a rehearsal: requests at a fixed rate on loopback, limited in number."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

import httpx2

from three_pillar_demo.load import checkout_client
from three_pillar_demo.load.checkout_client import SERVER_ERROR, Purchase
from three_pillar_demo.load.stats import percentile
from three_pillar_demo.stack.plain_http import NO_CERTIFICATES
from three_pillar_demo.stack.ports import LOOPBACK

MAX_RATE = 50.0
"""The highest rate that a load can have, in requests per second."""
MAX_REQUESTS = 10_000
"""The most requests that one rehearsal sends.

This is enough for 1000 s at the default rate of 10 per second. The longest fault lasts 300 s.
"""
MAX_CONNECTIONS = 500
"""The most connections to checkout at the same time; a request beyond that waits."""
CONNECTION_REFUSED = "refused"
"""The ``Request.problem`` of a request for which nothing listened on the port."""

Phase = Literal["warm-up", "steady", "fault", "recovery"]
"""The parts of a rehearsal, in their order; ``steady`` is the steady state before the fault."""


@dataclass(frozen=True)
class Request:
    """One request of the load.

    Attributes:
        phase: The phase in which the request was sent.
        order_id: The order id that the request contains.
        seconds: Seconds from the time at which the request was due until the request ended.
        purchase: The answer; None if there was no answer.
        problem: Why there was no answer; empty if there was an answer.
    """

    phase: Phase
    order_id: str
    seconds: float
    purchase: Purchase | None = None
    problem: str = ""

    @property
    def refused(self) -> bool:
        """Whether nothing listened on the port, so that no part of the request was handled."""
        return self.problem == CONNECTION_REFUSED

    @property
    def failed(self) -> bool:
        """Whether the request was accepted, and then got no answer or a server error."""
        if self.refused:
            return False
        return self.purchase is None or self.purchase.status >= SERVER_ERROR


@dataclass
class Load:
    """A load on the checkout service, and the record of its requests.

    Attributes:
        url: The base URL of checkout.
        run: The prefix of the order ids.
        rate: Requests per second.
        phase: The phase to which new requests belong; the rehearsal changes it.
        requests: The requests that have ended.
        started: The time at which the load was created, in seconds since the epoch.

    Raises:
        ValueError: The URL is not on loopback, or the rate is out of range.
    """

    url: str
    run: str
    rate: float = 10.0
    phase: Phase = "warm-up"
    requests: list[Request] = field(default_factory=list)
    started: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        """Check that ``url`` is on loopback, and that ``rate`` is over 0 and up to ``MAX_RATE``."""
        if urlsplit(self.url).hostname != LOOPBACK:
            raise ValueError(
                f"{self.url} is not on the loopback: rehearsals load this machine only"
            )
        if not 0 < self.rate <= MAX_RATE:
            raise ValueError(f"the rate must be over 0 and up to {MAX_RATE:g} a second")

    async def send(self, stop: asyncio.Event) -> None:
        """Send requests until ``stop`` is set, then wait for the requests in flight.

        The sending also ends after ``MAX_REQUESTS`` requests.
        """
        # Each request has a connection of its own: a service that stops may close an idle
        # connection in the moment in which it is used again.
        limits = httpx2.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=0)
        timeout = httpx2.Timeout(checkout_client.REQUEST_TIMEOUT_S)
        began = time.monotonic()
        async with (
            httpx2.AsyncClient(
                base_url=self.url,
                timeout=timeout,
                trust_env=False,
                verify=NO_CERTIFICATES,
                limits=limits,
            ) as http,
            asyncio.TaskGroup() as tasks,
        ):
            for number in range(MAX_REQUESTS):
                due = began + number / self.rate
                with suppress(TimeoutError):
                    async with asyncio.timeout(due - time.monotonic()):
                        await stop.wait()
                if stop.is_set():
                    return
                tasks.create_task(self._send_one(http, f"{self.run}-{number}", due))

    async def _send_one(self, http: httpx2.AsyncClient, order_id: str, due: float) -> None:
        """Send one request, and record the request when it has ended.

        ``due`` is the time at which the request should be sent, in seconds of the monotonic clock.
        """
        phase = self.phase
        purchase = None
        problem = ""
        try:
            purchase = await checkout_client.buy(http, order_id=order_id)
        except checkout_client.CheckoutError as error:
            cause = error.__cause__
            is_refused = isinstance(cause, httpx2.ConnectError)
            problem = CONNECTION_REFUSED if is_refused else type(cause).__name__
        seconds = time.monotonic() - due
        self.requests.append(Request(phase, order_id, seconds, purchase, problem))

    @property
    def purchases(self) -> list[Purchase]:
        """All purchases that were answered; the audit compares the stores with them."""
        return [request.purchase for request in self.requests if request.purchase]

    def p99(self, phase: Phase) -> float:
        """Return the p99 latency, in seconds, of the answered requests of a phase.

        NaN if no request of the phase was answered.
        """
        latencies = [
            request.seconds
            for request in self.requests
            if request.phase == phase and request.purchase
        ]
        return percentile(sorted(latencies), 0.99)
