"""Buys from checkout, as a customer would, and remembers what the shop said."""

import os
import time
from dataclasses import dataclass
from typing import Any

import httpx2

CHECKOUT_URL = f"http://{os.environ.get('CHECKOUT_HOST') or '127.0.0.1'}:8000"
PATIENCE = 10.0
"""Seconds a customer waits; checkout itself gives payment 2 s."""

BASKET: dict[str, Any] = {
    "items": [{"sku": "tea", "quantity": 2, "unit_price": "4.50"}],
    "currency": "EUR",
}
"""What everybody buys who says nothing else."""


class ShopError(Exception):
    """The shop gave no answer, or one without a trace id."""


@dataclass(frozen=True)
class Purchase:
    """One purchase as the customer saw it. Times are seconds since the epoch."""

    card: str
    order_id: str | None
    trace_id: str
    status: int
    outcome: str
    message: str
    started: float
    finished: float


def client(connections: int = 100) -> httpx2.AsyncClient:
    """A client for as many customers at once as there are ``connections``; one more would wait for a connection.

    It sends no trace context, so each purchase is a trace of its own.
    """
    # uvicorn closes a connection that was idle for 5 s; a request sent on it at that moment would be lost.
    limits = httpx2.Limits(
        max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=2.0
    )
    return httpx2.AsyncClient(
        base_url=CHECKOUT_URL, timeout=PATIENCE, trust_env=False, limits=limits
    )


async def check_reachable(http: httpx2.AsyncClient) -> None:
    """Make sure that somebody is there.

    Raises:
        ShopError: Nobody is.
    """
    try:
        await http.get("/healthz")
    except httpx2.HTTPError as error:
        raise _not_there(error) from error


async def buy(
    http: httpx2.AsyncClient, card: str = "ordinary", order_id: str | None = None
) -> Purchase:
    """Buy once.

    Raises:
        ShopError: Checkout is not there, too slow, or its answer carries no trace id.
    """
    started = time.time()
    try:
        response = await http.post("/checkout", json=basket(card, order_id))
        said = response.json()
        return Purchase(
            card=card,
            order_id=said.get("order_id"),
            trace_id=said["trace_id"],
            status=response.status_code,
            outcome=said["outcome"],
            message=said.get("message") or said.get("detail", ""),
            started=started,
            finished=time.time(),
        )
    except httpx2.HTTPError as error:
        raise _not_there(error) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ShopError(
            f"checkout at {CHECKOUT_URL} answered {response.status_code} without outcome and trace id"
        ) from error


def _not_there(error: httpx2.HTTPError) -> ShopError:
    reason = str(error) or type(error).__name__
    return ShopError(f"checkout at {CHECKOUT_URL}: {reason} (is it up? see: demo status)")


def basket(card: str, order_id: str | None = None) -> dict[str, Any]:
    """A basket that ``card`` pays: ``visa@950.00`` buys one thing at that price, ``invalid`` is one that checkout refuses."""
    card, _, price = card.partition("@")
    if card == "invalid":
        return {**BASKET, "items": [{"sku": "tea", "quantity": -1, "unit_price": "4.50"}]}
    items = {"items": [{"sku": "tea", "quantity": 1, "unit_price": price}]} if price else {}
    return {**BASKET, **items, "card": card} | ({"order_id": order_id} if order_id else {})
