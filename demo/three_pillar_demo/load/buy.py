"""Buys once and says what came of it, and how to look behind it."""

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from three_pillar_demo.load import checkout_client
from three_pillar_demo.terminal import printable

REFUSED, FAULT = 400, 500


async def checkout(card: str = "ordinary") -> int:
    """Buy once with ``card`` and print the shop's answer.

    Returns:
        The exit code: 0 when the shop answered, whatever it said, else 1.
    """
    try:
        async with checkout_client.client() as http:
            purchase = await checkout_client.buy(http, card)
    except checkout_client.ShopError as error:
        said = Text.assemble(("demo checkout: ", "red"), printable(error, 600))
        Console(stderr=True, highlight=False).print(said, soft_wrap=True)
        return 1
    out = Console(highlight=False)
    for line in describe(purchase):
        out.print(line, soft_wrap=True)
    return 0


def describe(purchase: checkout_client.Purchase) -> Iterator[Text]:
    """What the customer saw, a line for each thing; the last one is what to type next."""
    colour = (
        "red" if purchase.status >= FAULT else "yellow" if purchase.status >= REFUSED else "green"
    )
    for name, value, style in (
        ("outcome", purchase.outcome, f"bold {colour}"),
        ("answer", f"{purchase.status} {purchase.message}", ""),
        ("order", purchase.order_id or "none", ""),
        ("trace", purchase.trace_id, ""),
        ("took", f"{purchase.finished - purchase.started:.3f} s", ""),
        ("next", f"demo follow {purchase.trace_id}", "bold"),
    ):
        yield Text.assemble((f"{name:<9}", "dim"), (printable(value), style))
