"""The only caller of payment. It never waits longer than its own limit, whatever payment does."""

import asyncio
from decimal import Decimal

import httpx2


class PaymentError(Exception):
    """Payment gave no usable answer: an outcome of docs/reference/telemetry.md, and the reason in words for whoever reads the log."""

    def __init__(self, outcome: str, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome


class Deadline(httpx2.AsyncBaseTransport):
    """Limits a whole call, its body included; httpx limits each step of it (connect, write, read) on its own.

    It sits below the instrumentation, so that the CLIENT span sees the time-out: a cancelled span has no error status.
    """

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self.transport = transport

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send ``request`` and read the whole answer, or raise ``httpx2.ReadTimeout``."""
        seconds = request.extensions["deadline"] - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(seconds):
                response = await self.transport.handle_async_request(request)
                await response.aread()
                return response
        except TimeoutError as error:
            raise httpx2.ReadTimeout(f"no answer within {seconds:.3g} s") from error

    async def aclose(self) -> None:
        """Close the connections."""
        await self.transport.aclose()


class PaymentClient:
    """Calls payment at ``url``: at most ``calls`` at once, none longer than ``limit`` seconds, the wait for its turn included.

    They wait here, not in httpx's pool: so a CLIENT span begins when it is sent, and who never got a turn is told so. After
    half the limit the wait is given up: a call with less than that left would only keep the next one waiting.
    """

    def __init__(
        self,
        url: str,
        limit: float,
        calls: int = 100,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.limit, self.calls, self.free = limit, calls, asyncio.Semaphore(calls)
        limits = httpx2.Limits(max_connections=calls, max_keepalive_connections=calls)
        inner = Deadline(transport or httpx2.AsyncHTTPTransport(limits=limits))
        self.http = httpx2.AsyncClient(base_url=url, timeout=None, transport=inner)

    async def charge(self, order_id: str, amount: Decimal, currency: str, card: str) -> str:
        """Charge ``card``; returns the outcome, ``success`` or ``declined``.

        Raises:
            PaymentError: Payment is down, too slow, has too much to do, or answered with something else.
        """
        body = {"order_id": order_id, "amount": str(amount), "currency": currency, "card": card}
        deadline = asyncio.get_running_loop().time() + self.limit
        try:
            async with asyncio.timeout(self.limit / 2):
                await self.free.acquire()
        except TimeoutError as error:
            reason = f"payment was not called: all {self.calls} connections were in use for {self.limit / 2:g} s"
            raise PaymentError("payment_busy", reason) from error
        try:
            response = await self.http.post(
                "/charges", json=body, extensions={"deadline": deadline}
            )
            said = response.json() if response.status_code == httpx2.codes.OK else None
        except httpx2.TimeoutException as error:
            raise PaymentError("payment_slow", f"payment: {error}") from error
        except httpx2.ConnectError as error:
            raise PaymentError(
                "payment_unreachable", f"payment cannot be reached: {error}"
            ) from error
        except (httpx2.HTTPError, ValueError, RecursionError) as error:
            raise PaymentError(
                "payment_crashed", f"payment's answer cannot be read: {type(error).__name__}"
            ) from error
        finally:
            self.free.release()
        if response.status_code == httpx2.codes.GATEWAY_TIMEOUT:
            raise PaymentError("gateway_timeout", "payment answered 504: its gateway timed out")
        match said:
            case {"outcome": "authorised" | "declined" as outcome}:
                return "success" if outcome == "authorised" else "declined"
        raise PaymentError(
            "payment_crashed", f"payment answered {response.status_code} without an outcome we know"
        )
