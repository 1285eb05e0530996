"""The HTTP methods that are recorded under their own name."""

KNOWN_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"}
)
"""HTTP methods that are recorded under their own name; any other is recorded as ``_OTHER``.

The HTTP semantic conventions define these methods and ``_OTHER``.
"""
