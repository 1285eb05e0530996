"""The HTTP session of an OTLP exporter: it goes the right way, and keeps a batch until somebody takes it."""

import logging
import os
import random
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from requests import ConnectionError as NobodyThereError
from requests import HTTPError, Response, Timeout
from requests import Session as AnySession

BUSY = {429, 502, 503, 504}
"""What OTLP says to send again: https://opentelemetry.io/docs/specs/otlp/#failures-1."""

LONGEST_PAUSE, LONGEST_ASKED_FOR = 5.0, 300.0
"""Seconds between two tries: when nobody says how long, and when ``Retry-After`` does."""


class ClosingError(Exception):
    """The process ends, and the batch was not taken."""


class Session(AnySession):
    """Sends a batch again until it is taken or refused; the SDK's exporter tries six times and drops it.

    While it waits, the SDK's queue behind it fills up to its own limit, and what is too much there is counted (``losses``).
    ``refusal`` says why the newest batch was not taken: nothing, when it was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.closing, self.refusal = Event(), ""

    def request(self, method: str, url: str | bytes, *known: Any, **options: Any) -> Response:  # noqa: ANN401  (its own)
        """Send one batch: the answer, once it is not one of ``BUSY``.

        Raises:
            ClosingError: The process ends; there was one try more.
            HTTPError: The answer leads elsewhere, which the exporter would take for a success.
        """
        host = urlsplit(str(url)).hostname or ""
        # A proxy leads elsewhere: not to this machine, and not to a neighbour, whose name has no dot.
        if host == "::1" or host.startswith("127.") or not set(".:") & set(host):
            options["proxies"] = {"no_proxy": host}
        pause, first, self.refusal = 1.0, True, "failed"
        while True:
            asked = ""
            last = self.closing.is_set()
            try:
                response = super().request(method, url, *known, **options)
            except (NobodyThereError, Timeout) as error:
                problem: object = error
            else:
                self.refusal = str(response.status_code)
                if 300 <= response.status_code < 400:  # noqa: PLR2004
                    raise HTTPError(
                        f"{url!s} is elsewhere: {response.headers.get('location', 'nowhere')[:200]}"
                    )
                if response.status_code not in BUSY:
                    self.refusal = "" if response.ok else self.refusal
                    return response
                problem, asked = response.status_code, response.headers.get("retry-after", "")
            if first:
                logging.getLogger(__name__).warning(
                    f"{url!s} does not take telemetry, and is asked again: {problem}"
                )
            first = False
            if last:
                self.refusal = "shutdown"
                raise ClosingError(f"nobody took it: {problem}")
            # The jitter keeps many processes from coming back all at once.
            seconds = (
                min(float(asked), LONGEST_ASKED_FOR)
                if asked.isdigit()
                else pause * random.uniform(0.8, 1.2)
            )
            self.closing.wait(seconds)
            pause = min(2 * pause, LONGEST_PAUSE)


def session(signal: str) -> Session | None:
    """The session that ``TRACES``, ``METRICS`` or ``LOGS`` are sent with; None where that exporter is ``none``."""
    return None if os.environ.get(f"OTEL_{signal}_EXPORTER") == "none" else Session()
