"""The HTTP session of an OTLP exporter, which retries until a batch is accepted or refused."""

import logging
import os
import random
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

RETRYABLE_STATUSES = {429, 502, 503, 504}
"""HTTP statuses after which a batch is sent again.

OTLP defines them: https://opentelemetry.io/docs/specs/otlp/#failures-1.
"""

REDIRECT_STATUSES = range(300, 400)

FIRST_BACKOFF_S = 1.0
MAX_BACKOFF_S = 5.0
"""Upper limit of the pause between two attempts, in seconds, without its random part.

The pause begins with ``FIRST_BACKOFF_S`` and doubles up to this limit. With the random part, which
is at most 20 %, it is up to 6 s. A ``Retry-After`` header replaces it.
"""
MAX_RETRY_AFTER_S = 300.0
"""The longest pause, in seconds, that a ``Retry-After`` header can demand."""


class ExportAbandonedError(Exception):
    """A batch was given up: the process is shutting down and the last attempt to send it failed."""


class RetryingSession(requests.Session):
    """HTTP session that sends each batch again until the receiver accepts or refuses it.

    The SDK's own exporter gives up after six attempts. While a batch is retried, new items wait in
    the SDK's queue, and ``DropCounter`` counts the items that are dropped because it is full.

    Attributes:
        shutdown: ``TelemetryProviders.shutdown`` sets this event. From then on each batch gets only
            one last attempt.
        last_error: Why the latest batch was not delivered: an HTTP status, ``failed`` or
            ``shutdown``. Empty if the batch was delivered, and before the first batch.
    """

    def __init__(self) -> None:
        super().__init__()
        # Otherwise requests takes a password for the receiver's host from ~/.netrc, and replaces
        # the header Authorization of OTEL_EXPORTER_OTLP_HEADERS by it.
        self.auth = _leave_headers
        self.reset()

    def reset(self) -> None:
        """Forget all connections and errors, as in a new session.

        After ``os.fork()`` both processes would otherwise write to the same connection.
        """
        self.mount("https://", HTTPAdapter())
        self.mount("http://", HTTPAdapter())
        self.shutdown = Event()
        self.last_error = ""

    def request(
        self,
        method: str,
        url: str | bytes,
        *args: Any,  # noqa: ANN401  (requests declares them so)
        **options: Any,  # noqa: ANN401
    ) -> requests.Response:
        """Send one batch, retrying until a response has a status outside ``RETRYABLE_STATUSES``.

        A connection error and a timeout are retried as well.

        Raises:
            ExportAbandonedError: The process is shutting down and the last attempt failed.
            HTTPError: The response is a redirect, which the exporter would count as a success.
        """
        host = urlsplit(str(url)).hostname or ""
        if _bypasses_proxy(host):
            options["proxies"] = {"no_proxy": host}
        self.last_error = "failed"
        backoff_s = FIRST_BACKOFF_S
        warned = False
        while True:
            is_last_attempt = self.shutdown.is_set()
            retry_after = ""
            try:
                response = super().request(method, url, *args, **options)
            except (requests.ConnectionError, requests.Timeout) as error:
                reason = str(error)
            else:
                if self._is_final(response, url):
                    return response
                reason = str(response.status_code)
                retry_after = response.headers.get("retry-after", "")
            if not warned:
                logging.getLogger(__name__).warning(
                    f"OTLP export to {url!s} failed, retrying: {reason}"
                )
                warned = True
            if is_last_attempt:
                self.last_error = "shutdown"
                raise ExportAbandonedError(f"export abandoned at shutdown: {reason}")
            self.shutdown.wait(_pause_s(backoff_s, retry_after))
            backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)

    def _is_final(self, response: requests.Response, url: str | bytes) -> bool:
        """Set ``last_error`` from the status of ``response``; return whether the status is final.

        A final status ends the retries. After a success ``last_error`` is empty.

        Raises:
            HTTPError: The response is a redirect.
        """
        self.last_error = str(response.status_code)
        if response.status_code in REDIRECT_STATUSES:
            location = response.headers.get("location", "nowhere")[:200]
            raise requests.HTTPError(f"OTLP endpoint {url!s} redirects to {location}: not followed")
        if response.ok:
            self.last_error = ""
        return response.status_code not in RETRYABLE_STATUSES


def _leave_headers(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Return ``request`` as it is: an authentication that adds nothing."""
    return request


def _bypasses_proxy(host: str) -> bool:
    """Return whether ``host`` is reached without a proxy.

    This holds for loopback addresses and for names without a dot, such as ``localhost`` or a
    service of Docker Compose, because a proxy cannot reach them.
    """
    if host == "::1" or host.startswith("127."):
        return True
    return "." not in host and ":" not in host


def _pause_s(backoff_s: float, retry_after: str) -> float:
    """Return the seconds to wait before the next attempt.

    ``retry_after`` is the value of the header ``Retry-After``. If it is a whole number, the result
    is this number, at most ``MAX_RETRY_AFTER_S``. Otherwise the result is ``backoff_s``, varied at
    random by up to 20 %, so that many processes do not all retry at the same time.
    """
    if retry_after.isdigit():
        return min(float(retry_after), MAX_RETRY_AFTER_S)
    return backoff_s * random.uniform(0.8, 1.2)  # noqa: S311  (not for cryptography)


def otlp_session(signal: str) -> RetryingSession | None:
    """Return a session for the exporter of ``signal``: ``TRACES``, ``METRICS`` or ``LOGS``.

    Return None if the variable OTEL_<signal>_EXPORTER is ``none``.
    """
    if os.environ.get(f"OTEL_{signal}_EXPORTER") == "none":
        return None
    return RetryingSession()
