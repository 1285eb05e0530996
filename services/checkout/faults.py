"""The faults that a drill can turn on in checkout.

The code of this module runs only if the setting ``drills`` (CHECKOUT_DRILLS) names a file. The
drill writes the faults into that file, and ``services/common/active_faults.py`` reads them.
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
    """A client of payment with four faults; each is turned on by a key in the JSON file ``drills``.

    ``payment_url`` is the address to call instead of payment's. ``max_two_connections`` limits the
    client to two connections. ``attempts`` is the maximum number of attempts for one charge,
    without a pause between them. ``order_id_label`` adds the metric ``checkout.orders``, which has
    the order id as a label.
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
        """Charge ``card`` as ``PaymentClient.charge`` does, but with the active faults."""
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
    """Wrap ``app`` in an ASGI middleware that can block the event loop before each request.

    The key ``block`` in the JSON file ``drills`` is the number of seconds for which each request
    blocks the loop. Without this key, nothing is blocked.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        faults: dict[str, Any] = active_faults(drills)
        time.sleep(faults.get("block", 0.0))  # noqa: ASYNC251  (that is the fault)
        await app(scope, receive, send)

    return serve
