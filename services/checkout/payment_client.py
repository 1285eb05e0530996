"""The client that calls the payment service, with a time limit for each whole call."""

import asyncio
from decimal import Decimal

import httpx2


class PaymentError(Exception):
    """A call of payment failed or had no usable response; ``outcome`` is a key of ``OUTCOMES``.

    ``OUTCOMES`` is in ``orders.py``.
    """

    def __init__(self, outcome: str, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome


class DeadlineTransport(httpx2.AsyncBaseTransport):
    """httpx transport that limits the time of a whole call, including the response body.

    httpx itself can only limit each step of a call: connect, write, read. OpenTelemetry's
    instrumentation wraps this transport, so the CLIENT span records a time-out as an error. A limit
    around the instrumentation would cancel the span, which would then have no error status.
    """

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self.transport = transport

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send ``request``, and return the response with its whole body.

        ``request.extensions["deadline"]`` is the time by which the body must be complete, in
        seconds of the event loop's clock.

        Raises:
            httpx2.ReadTimeout: The body was not complete at the deadline.
        """
        seconds = request.extensions["deadline"] - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(seconds):
                response = await self.transport.handle_async_request(request)
                await response.aread()
                return response
        except TimeoutError as error:
            raise httpx2.ReadTimeout(f"no answer within {seconds:.3g} s") from error

    async def aclose(self) -> None:
        """Close the connections of the wrapped transport."""
        await self.transport.aclose()


class PaymentClient:
    """Client of the payment service at ``url``.

    The client makes at most ``connections`` calls at the same time. Each call has a time limit of
    ``timeout_s`` seconds, which includes the wait for a free connection. If no connection is free
    within half of that time, the call fails with the outcome ``payment_busy``.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float,
        connections: int = 100,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.timeout_s = timeout_s
        self.connections = connections
        # Calls wait here and not in httpx's pool, so that a CLIENT span begins when its request is
        # sent.
        self.free_connections = asyncio.Semaphore(connections)
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        # The transport reads all certificates of the machine, which takes 25 ms, and needs them
        # only for HTTPS.
        is_https = url.startswith("https:")
        inner = transport or httpx2.AsyncHTTPTransport(verify=is_https, limits=limits)
        self.http = httpx2.AsyncClient(
            base_url=url, timeout=None, transport=DeadlineTransport(inner)
        )

    async def charge(self, order_id: str, amount: Decimal, currency: str, card: str) -> str:
        """Charge ``card`` with ``amount`` and return the outcome, ``success`` or ``declined``.

        Raises:
            PaymentError: Payment is unreachable, too slow or busy, or its response is an error or
                cannot be read.
        """
        body = {"order_id": order_id, "amount": str(amount), "currency": currency, "card": card}
        deadline = asyncio.get_running_loop().time() + self.timeout_s
        await self._acquire_connection()
        try:
            response = await self._post(body, deadline)
            answer = _read_answer(response)
        finally:
            self.free_connections.release()
        match answer:
            case {"outcome": "authorised"}:
                return "success"
            case {"outcome": "declined"}:
                return "declined"
        raise PaymentError(
            "payment_crashed",
            f"payment answered {response.status_code} without an outcome we know",
        )

    async def _acquire_connection(self) -> None:
        # A call with less than half of its time left would only make the next call wait.
        wait_s = self.timeout_s / 2
        try:
            async with asyncio.timeout(wait_s):
                await self.free_connections.acquire()
        except TimeoutError as error:
            reason = (
                f"payment was not called: all {self.connections} connections "
                f"were in use for {wait_s:g} s"
            )
            raise PaymentError("payment_busy", reason) from error

    async def _post(self, body: dict[str, str], deadline: float) -> httpx2.Response:
        try:
            return await self.http.post("/charges", json=body, extensions={"deadline": deadline})
        except httpx2.TimeoutException as error:
            raise PaymentError("payment_slow", f"payment: {error}") from error
        except httpx2.ConnectError as error:
            reason = f"payment cannot be reached: {error}"
            raise PaymentError("payment_unreachable", reason) from error
        except (httpx2.HTTPError, ValueError, RecursionError) as error:
            raise _unreadable(error) from error


def _read_answer(response: httpx2.Response) -> object:
    """Return the JSON body of a response with status 200, or None for another status.

    Raises:
        PaymentError: The status is 504, or the body is not JSON.
    """
    if response.status_code == httpx2.codes.GATEWAY_TIMEOUT:
        raise PaymentError("gateway_timeout", "payment answered 504: its gateway timed out")
    if response.status_code != httpx2.codes.OK:
        return None
    try:
        answer: object = response.json()
    except (ValueError, RecursionError) as error:
        raise _unreadable(error) from error
    return answer


def _unreadable(error: Exception) -> PaymentError:
    reason = f"payment's answer cannot be read: {type(error).__name__}"
    return PaymentError("payment_crashed", reason)
