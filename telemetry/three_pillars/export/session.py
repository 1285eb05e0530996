"""The HTTP session of an OTLP exporter: it retries until a batch is accepted or refused."""

import logging
import os
import random
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import requests

RETRYABLE_STATUSES = {429, 502, 503, 504}
"""OTLP asks a client to retry these: https://opentelemetry.io/docs/specs/otlp/#failures-1."""

REDIRECT_STATUSES = range(300, 400)

FIRST_BACKOFF_S = 1.0
MAX_BACKOFF_S = 5.0
"""The longest pause between two attempts when the receiver does not ask for one."""
MAX_RETRY_AFTER_S = 300.0
"""The longest pause that a ``Retry-After`` header can ask for."""


class ExportAbandonedError(Exception):
    """The process is shutting down, and the last attempt failed as well."""


class RetryingSession(requests.Session):
    """Sends each batch until the receiver accepts or refuses it.

    The SDK's own exporter gives up after six attempts. While a batch is retried, the SDK's queue
    fills up behind it, and ``DropCounter`` counts what overflows.

    Attributes:
        shutdown: Set this when the process ends: each batch then gets one last attempt.
        last_error: Why the latest batch was not delivered: an HTTP status, ``failed`` or
            ``shutdown``. It is empty when the batch was delivered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shutdown = Event()
        self.last_error = ""

    def request(
        self,
        method: str,
        url: str | bytes,
        *args: Any,  # noqa: ANN401  (requests declares them so)
        **options: Any,  # noqa: ANN401
    ) -> requests.Response:
        """Send one batch and return the first answer that is not in ``RETRYABLE_STATUSES``.

        Raises:
            ExportAbandonedError: The process is shutting down and the last attempt failed.
            HTTPError: The answer is a redirect, which the exporter would count as a success.
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
        """Set ``last_error`` and return whether ``response`` ends the retries.

        Raises:
            HTTPError: The answer is a redirect.
        """
        self.last_error = str(response.status_code)
        if response.status_code in REDIRECT_STATUSES:
            location = response.headers.get("location", "nowhere")[:200]
            raise requests.HTTPError(f"OTLP endpoint {url!s} redirects to {location}: not followed")
        if response.ok:
            self.last_error = ""
        return response.status_code not in RETRYABLE_STATUSES


def _bypasses_proxy(host: str) -> bool:
    """Return whether ``host`` is this machine, or a neighbour whose name has no dot.

    A proxy cannot reach either of them.
    """
    if host == "::1" or host.startswith("127."):
        return True
    return "." not in host and ":" not in host


def _pause_s(backoff_s: float, retry_after: str) -> float:
    """Return the seconds to wait: what ``Retry-After`` says, or ``backoff_s`` with jitter.

    The jitter keeps many processes from retrying all at once.
    """
    if retry_after.isdigit():
        return min(float(retry_after), MAX_RETRY_AFTER_S)
    return backoff_s * random.uniform(0.8, 1.2)  # noqa: S311  (not for cryptography)


def otlp_session(signal: str) -> RetryingSession | None:
    """Return a session for ``TRACES``, ``METRICS`` or ``LOGS``, unless its exporter is ``none``."""
    if os.environ.get(f"OTEL_{signal}_EXPORTER") == "none":
        return None
    return RetryingSession()
