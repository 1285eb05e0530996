"""Check the variables outside of ``OTEL_*`` that the libraries of an instrumented process read.

A bad value would end the process with a traceback, or make every export fail.
"""

import os
import ssl
import stat
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from .settings import shown


def problems(names: Iterable[str] = ()) -> list[str]:
    """Return an error line for each variable of ``RULES`` whose value cannot be obeyed.

    A blank value counts as unset. Only the variables ``names`` are checked, if there are any.
    """
    lines = []
    for name in names or RULES:
        is_allowed, allowed = RULES[name]
        value = os.environ.get(name, "")
        if value.strip() and not is_allowed(value):
            lines.append(f"{name}={shown(value)}: allowed is {allowed}")
    return lines


def remove_blank() -> None:
    """Remove the blank variables of ``RULES``, which the libraries would not take for unset.

    For example, httpx2 and ssl would look for a file whose name is a blank.
    """
    for name in RULES:
        if not os.environ.get(name, "set").strip():
            del os.environ[name]


def _is_certificate_file(value: str) -> bool:
    try:
        status = Path(value).stat()
    except (OSError, ValueError):
        return False
    return _has_certificates(value, status.st_mtime_ns, status.st_size)


@cache
def _has_certificates(path: str, _modified_ns: int, _size: int) -> bool:
    """Return whether the file contains certificates.

    Several variables usually name the same file, and reading the file of a whole system takes
    25 ms, so that a file is read again only after it has changed.
    """
    try:
        # Not create_default_context(), which obeys SSLKEYLOGFILE.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (OSError, ValueError):  # ssl.SSLError, if it contains no certificate, is an OSError
        return False
    return True


def _is_certificate_file_or_folder(value: str) -> bool:
    return _is_folder(value) or _is_certificate_file(value)


def _has_folder(value: str) -> bool:
    return any(_is_folder(folder) for folder in value.split(os.pathsep))


def _is_folder(value: str) -> bool:
    try:
        return stat.S_ISDIR(Path(value).stat().st_mode)
    except (OSError, ValueError):  # Path.is_dir() would raise some of them
        return False


def _can_be_appended_to(value: str) -> bool:
    path = Path(os.path.expandvars(value))
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return os.access(path.parent, os.W_OK)
    except (OSError, ValueError):  # for example, the name is too long
        return False
    return stat.S_ISREG(mode) and os.access(path, os.W_OK)


def _is_protobuf_implementation(value: str) -> bool:
    return value in {"upb", "python"}


RULES: dict[str, tuple[Callable[[str], bool], str]] = {
    "SSL_CERT_FILE": (_is_certificate_file, "a file with certificates"),
    "SSL_CERT_DIR": (_has_folder, "a folder of certificates"),
    "REQUESTS_CA_BUNDLE": (
        _is_certificate_file_or_folder,
        "a file with certificates or a folder of them",
    ),
    "CURL_CA_BUNDLE": (
        _is_certificate_file_or_folder,
        "a file with certificates or a folder of them",
    ),
    "SSLKEYLOGFILE": (_can_be_appended_to, "a file that can be written"),
    "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": (_is_protobuf_implementation, "upb or python"),
}
"""For each variable, a function that checks a value, and the text that says what is allowed."""
