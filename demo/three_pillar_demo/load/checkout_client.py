"""The HTTP client of checkout, and ``buy``, which sends one purchase and returns the answer."""

import os
import time
from dataclasses import dataclass
from typing import Any

import httpx2

from three_pillar_demo.stack import ports
from three_pillar_demo.stack.plain_http import NO_CERTIFICATES

REQUEST_TIMEOUT_S = 10.0
"""How long to wait for an answer, in seconds.

This is well above the 2 s that checkout waits for payment by default.
"""
SERVER_ERROR = 500
"""The lowest HTTP status of a server error."""

BASKET: dict[str, Any] = {
    "items": [{"sku": "tea", "quantity": 2, "unit_price": "4.50"}],
    "currency": "EUR",
}
"""The default request body of a purchase: its items and its currency."""


class CheckoutError(Exception):
    """Checkout gave no answer, or an answer without an outcome or a trace id.

    The text says which of these happened.
    """


@dataclass(frozen=True)
class Purchase:
    """One purchase and checkout's answer to it.

    Attributes:
        card: The card that paid.
        order_id: The order id in the answer; None when the answer has none.
        trace_id: The id of the trace that the purchase produced.
        status: The HTTP status.
        outcome: The name of the outcome, a key of ``verify.outcomes.EXPECTED``.
        message: The answer's explanation for the customer.
        started: When the request was sent, in seconds since the epoch.
        finished: When the answer arrived, in seconds since the epoch.
    """

    card: str
    order_id: str | None
    trace_id: str
    status: int
    outcome: str
    message: str
    started: float
    finished: float


def checkout_url() -> str:
    """Return the base URL of checkout in the running stack.

    The environment variables ``CHECKOUT_HOST`` and ``CHECKOUT_PORT`` name another checkout.
    """
    host = os.environ.get("CHECKOUT_HOST") or ports.LOOPBACK
    return f"http://{host}:{ports.CHECKOUT.number}"


def client(connections: int = 100) -> httpx2.AsyncClient:
    """Return an HTTP client that opens at most ``connections`` connections to checkout.

    A further request waits until a connection is free. The client sends no ``traceparent`` header,
    so each purchase starts a new trace.
    """
    # uvicorn closes a connection that was idle for 5 s. A request that is sent at that moment
    # would be lost, so the client closes idle connections earlier.
    limits = httpx2.Limits(
        max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=2.0
    )
    return httpx2.AsyncClient(
        base_url=checkout_url(),
        timeout=REQUEST_TIMEOUT_S,
        trust_env=False,
        verify=NO_CERTIFICATES,
        limits=limits,
    )


async def check_reachable(http: httpx2.AsyncClient) -> None:
    """Check that checkout answers requests. Any HTTP status counts as an answer.

    Raises:
        CheckoutError: Checkout cannot be reached.
    """
    try:
        await http.get("/healthz")
    except httpx2.HTTPError as error:
        raise _unreachable(error) from error


async def buy(
    http: httpx2.AsyncClient, card: str = "ordinary", order_id: str | None = None
) -> Purchase:
    """Send one purchase and return the answer.

    Raises:
        CheckoutError: Checkout cannot be reached, takes longer than ``REQUEST_TIMEOUT_S`` seconds,
            or answers without an outcome or a trace id.
    """
    started = time.time()
    try:
        response = await http.post("/checkout", json=basket(card, order_id))
        answer = response.json()
        return Purchase(
            card=card,
            order_id=answer.get("order_id"),
            trace_id=answer["trace_id"],
            status=response.status_code,
            outcome=answer["outcome"],
            message=answer.get("message") or answer.get("detail", ""),
            started=started,
            finished=time.time(),
        )
    except httpx2.HTTPError as error:
        raise _unreachable(error) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        status = response.status_code
        raise CheckoutError(
            f"checkout at {checkout_url()} answered {status} without outcome and trace id"
        ) from error


def _unreachable(error: httpx2.HTTPError) -> CheckoutError:
    reason = str(error) or type(error).__name__
    return CheckoutError(f"checkout at {checkout_url()}: {reason} (is it up? see: demo status)")


def basket(card: str, order_id: str | None = None) -> dict[str, Any]:
    """Return the JSON body of a purchase that is paid with ``card``.

    The items are those of ``BASKET``. There are two exceptions:

    - A card with a price, such as ``visa@950.00``: the card is ``visa`` and pays for one item that
      costs 950.00.
    - The card ``invalid``: the item has a negative quantity, so checkout refuses the purchase.
    """
    card, _, price = card.partition("@")
    body = dict(BASKET)
    if card == "invalid":
        body["items"] = [{"sku": "tea", "quantity": -1, "unit_price": "4.50"}]
        return body
    if price:
        body["items"] = [{"sku": "tea", "quantity": 1, "unit_price": price}]
    body["card"] = card
    if order_id:
        body["order_id"] = order_id
    return body
