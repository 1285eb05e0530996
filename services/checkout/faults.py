"""What a drill lets checkout do wrong. Built only where a drill's file is named, which ``doors/drills.py`` reads."""

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from decimal import Decimal

from opentelemetry.metrics import CallbackOptions, Observation, get_meter
from starlette.types import ASGIApp, Receive, Scope, Send

from services.checkout.payment_client import PaymentClient, PaymentError
from services.common.active_faults import faults


class FaultyClient(PaymentClient):
    """Calls payment ``via`` somebody else, over a ``narrow`` way, in more ``attempts`` than is good; ``counts`` each order."""

    def __init__(self, drills: str, url: str, limit: float, calls: int) -> None:
        super().__init__(url, limit, calls)
        self.drills, self.url, self.orders = drills, url, Counter[str]()
        self.narrow = PaymentClient(url, limit, 2)
        self.narrow.http = self.http
        get_meter("checkout").create_observable_counter(
            "checkout.orders", [self._count], "{order}", "Orders placed."
        )

    async def charge(self, order_id: str, amount: Decimal, currency: str, card: str) -> str:
        """As the plain client does, and wrong."""
        fault, order = faults(self.drills), (order_id, amount, currency, card)
        self.http.base_url = fault.get("via", self.url)
        self.orders[order_id] += 1
        charge = self.narrow.charge if "narrow" in fault else super().charge
        for _ in range(fault.get("attempts", 1) - 1):
            with suppress(PaymentError):
                return await charge(*order)
        return await charge(*order)

    def _count(self, _options: CallbackOptions) -> Iterable[Observation]:
        if "counts" not in faults(self.drills):
            self.orders.clear()
        return [Observation(count, {"order_id": order}) for order, count in self.orders.items()]


def blocking(app: ASGIApp, drills: str) -> ASGIApp:
    """ASGI middleware: before each request a call that lets nobody else go on."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        time.sleep(faults(drills).get("block", 0.0))  # noqa: ASYNC251
        await app(scope, receive, send)

    return serve
