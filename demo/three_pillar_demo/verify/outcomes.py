"""The outcome table, as somebody outside the services knows it; a test compares it with docs/reference/telemetry.md and the services."""

from dataclasses import dataclass, field

CHECKOUT, ORDER, CLIENT, PAYMENT = "checkout SERVER", "order", "checkout CLIENT", "payment SERVER"
"""The spans of one purchase, parent to child, by their roles."""


@dataclass(frozen=True)
class Expected:
    """What one outcome leaves behind: ``None`` where payment took no part."""

    status: int
    severity: str
    payment_outcome: str | None = None
    payment_status: int | None = None
    payment_severity: str | None = None
    spans: tuple[str, ...] = (CHECKOUT, ORDER, CLIENT, PAYMENT)
    errors: frozenset[str] = field(default_factory=frozenset)


OURS = frozenset({CHECKOUT, ORDER, CLIENT})

EXPECTED = {
    "success": Expected(200, "INFO", "authorised", 200, "INFO"),
    "declined": Expected(402, "WARN", "declined", 200, "INFO"),
    "gateway_timeout": Expected(
        500, "ERROR", "gateway_timeout", 504, "ERROR", errors=OURS | {PAYMENT}
    ),
    "payment_slow": Expected(504, "ERROR", "authorised", 200, "INFO", errors=OURS),
    "payment_crashed": Expected(502, "ERROR", "crashed", 500, "ERROR", errors=OURS | {PAYMENT}),
    "payment_unreachable": Expected(503, "ERROR", spans=(CHECKOUT, ORDER, CLIENT), errors=OURS),
    "payment_busy": Expected(
        503, "ERROR", spans=(CHECKOUT, ORDER), errors=frozenset({CHECKOUT, ORDER})
    ),
    "invalid": Expected(422, "WARN", spans=(CHECKOUT,)),
    "crashed": Expected(500, "ERROR", spans=(CHECKOUT,), errors=frozenset({CHECKOUT})),
}
