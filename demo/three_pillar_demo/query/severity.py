"""Recognises the severities of log records that report a failure, in the spelling of any logger."""

FAILURE_TEXTS = (
    "ERROR",
    "ERR",
    "FATAL",
    "CRITICAL",
    "CRIT",
    "SEVERE",
    "ALERT",
    "EMERGENCY",
    "EMERG",
    "PANIC",
    *(f"{name}{number}" for name in ("ERROR", "FATAL") for number in (2, 3, 4)),
)
"""The severity texts, in capital letters, of log records that report a failure.

OTLP keeps the name that the logging library uses: ERROR in most languages, ``Error`` in .NET,
``error`` in Node.js, CRITICAL in Python, SEVERE in Java, and the names of syslog. OTLP's own short
names may have a digit from 2 to 4.
"""
FAILURE_NUMBER = 17
"""The lowest severity number of OTLP that reports a failure: that of ERROR."""


def is_failure(severity_text: str) -> bool:
    """Return True if a severity text, in any case, is that of an error or of something worse."""
    return severity_text.strip().upper() in FAILURE_TEXTS
