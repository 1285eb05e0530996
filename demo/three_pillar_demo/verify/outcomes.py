"""The outcome table ``EXPECTED``: the telemetry that a purchase with each outcome must produce.

The table does not use the code of the services. A test compares the table with the one in
docs/reference/telemetry.md and with what the services do.
"""

from dataclasses import dataclass, field

# The roles of the spans of one purchase, from parent to child.
CHECKOUT = "checkout SERVER"
"""The role of the span of the request that checkout received."""
ORDER = "order"
"""The role of checkout's span ``place order``, the parent of the call of payment."""
CLIENT = "checkout CLIENT"
"""The role of the span of checkout's call of payment."""
PAYMENT = "payment SERVER"
"""The role of the span of the request that payment received."""


@dataclass(frozen=True)
class Expected:
    """The telemetry of a purchase with a certain outcome: one row of the table ``EXPECTED``.

    Attributes:
        status: The HTTP status of checkout's answer.
        severity: The severity of checkout's canonical log record.
        payment_outcome: The outcome of payment; None when payment received no request.
        payment_status: The HTTP status of payment's answer; None when payment received no request.
        payment_severity: The severity of payment's canonical log record; None when there is none.
        spans: The roles of all spans, from parent to child.
        errors: The roles of the spans with error status.
    """

    status: int
    severity: str
    payment_outcome: str | None = None
    payment_status: int | None = None
    payment_severity: str | None = None
    spans: tuple[str, ...] = (CHECKOUT, ORDER, CLIENT, PAYMENT)
    errors: frozenset[str] = field(default_factory=frozenset)


CHECKOUT_SPANS = (CHECKOUT, ORDER, CLIENT)
"""The spans of a purchase whose call did not reach payment."""
CHECKOUT_ERRORS = frozenset(CHECKOUT_SPANS)
ALL_ERRORS = CHECKOUT_ERRORS | {PAYMENT}

EXPECTED = {
    "success": Expected(200, "INFO", "authorised", 200, "INFO"),
    "declined": Expected(402, "WARN", "declined", 200, "INFO"),
    "gateway_timeout": Expected(500, "ERROR", "gateway_timeout", 504, "ERROR", errors=ALL_ERRORS),
    "payment_slow": Expected(504, "ERROR", "authorised", 200, "INFO", errors=CHECKOUT_ERRORS),
    "payment_crashed": Expected(502, "ERROR", "crashed", 500, "ERROR", errors=ALL_ERRORS),
    "payment_unreachable": Expected(503, "ERROR", spans=CHECKOUT_SPANS, errors=CHECKOUT_ERRORS),
    "payment_busy": Expected(
        503, "ERROR", spans=(CHECKOUT, ORDER), errors=frozenset({CHECKOUT, ORDER})
    ),
    "invalid": Expected(422, "WARN", spans=(CHECKOUT,)),
    "crashed": Expected(500, "ERROR", spans=(CHECKOUT,), errors=frozenset({CHECKOUT})),
}
"""The row of each outcome, by the name of the outcome."""
