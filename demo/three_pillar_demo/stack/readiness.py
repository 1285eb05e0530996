"""Asks a component whether it is ready, by its readiness URL.

A URL that begins with ``tcp:`` stands for a port that is ready once it accepts connections.

The launcher asks often while components start, so this module uses the standard library: an HTTP
client that could use TLS would read all certificates of the system for each request, which takes
20 ms of CPU.
"""

import socket
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

TIMEOUT_S = 1.0
MAX_BODY_BYTES = 1000
MAX_TEXT_CHARS = 100


def ask(url: str) -> tuple[bool, str]:
    """Request ``url``, and return whether the answer is a success, and what the answer was.

    The text is the status and the beginning of the body, or the reason for which there is no
    answer.
    """
    parts = urlsplit(url)
    if parts.scheme == "tcp":
        return _connect(parts.hostname or "", parts.port or 0)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", parts.path, headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read(MAX_BODY_BYTES).decode(errors="replace")
    except (OSError, HTTPException) as error:
        return False, str(error) or type(error).__name__
    finally:
        connection.close()
    is_success = response.status // 100 == 2  # noqa: PLR2004  (the class of the status)
    return is_success, f"{response.status} {body.strip()[:MAX_TEXT_CHARS]}"


def _connect(host: str, port: int) -> tuple[bool, str]:
    try:
        socket.create_connection((host, port), TIMEOUT_S).close()
    except OSError as error:
        return False, str(error)
    return True, "accepts connections"
