"""The faults that a drill can turn on in checkout.

They exist only where the setting ``drills`` names a file; ``services/common/active_faults.py``
reads it.
"""

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from decimal import Decimal
from typing import Any

from opentelemetry.metrics import CallbackOptions, Observation, get_meter
from starlette.types import ASGIApp, Receive, Scope, Send

from services.checkout.payment_client import PaymentClient, PaymentError
from services.common.active_faults import active_faults

FEW_CONNECTIONS = 2


class FaultyPaymentClient(PaymentClient):
    """A client of payment with four switches in the file ``drills``.

    ``payment_url`` sends its calls to another address, ``max_two_connections`` makes calls wait
    for one of two connections, ``attempts`` repeats a failing call at once, up to so many times
    in all, and ``order_id_label`` counts orders with their id as a label.
    """

    def __init__(self, drills: str, url: str, timeout_s: float, connections: int) -> None:
        super().__init__(url, timeout_s, connections)
        self.drills = drills
        self.url = url
        self.order_counts = Counter[str]()
        self.two_connections = PaymentClient(url, timeout_s, FEW_CONNECTIONS)
        self.two_connections.http = self.http
        get_meter("checkout").create_observable_counter(
            "checkout.orders", [self._observe_orders], "{order}", "Orders placed."
        )

    async def charge(self, order_id: str, amount: Decimal, currency: str, card: str) -> str:
        """Charge ``card`` like the plain client, with the faults that are active."""
        faults = active_faults(self.drills)
        self.http.base_url = faults.get("payment_url", self.url)
        self.order_counts[order_id] += 1
        charge = super().charge
        if "max_two_connections" in faults:
            charge = self.two_connections.charge
        for _ in range(faults.get("attempts", 1) - 1):
            with suppress(PaymentError):
                return await charge(order_id, amount, currency, card)
        return await charge(order_id, amount, currency, card)

    def _observe_orders(self, _options: CallbackOptions) -> Iterable[Observation]:
        if "order_id_label" not in active_faults(self.drills):
            self.order_counts.clear()
        return [
            Observation(count, {"order_id": order_id})
            for order_id, count in self.order_counts.items()
        ]


def blocking(app: ASGIApp, drills: str) -> ASGIApp:
    """ASGI middleware whose switch ``block`` blocks the event loop for so many seconds."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        faults: dict[str, Any] = active_faults(drills)
        time.sleep(faults.get("block", 0.0))  # noqa: ASYNC251  (that is the fault)
        await app(scope, receive, send)

    return serve
