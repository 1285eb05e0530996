"""The command ``demo checkout``: sends one purchase, prints the answer and what to type next."""

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from three_pillar_demo.load import checkout_client
from three_pillar_demo.load.stats import status_colour
from three_pillar_demo.terminal import printable


async def checkout(card: str = "ordinary") -> int:
    """Send one purchase that is paid with ``card`` and print the answer.

    Returns:
        The exit code. It is 0 when checkout gave an answer with outcome and trace id, whatever the
        HTTP status. It is 1 when there was no such answer.
    """
    try:
        async with checkout_client.client() as http:
            purchase = await checkout_client.buy(http, card)
    except checkout_client.CheckoutError as error:
        message = Text.assemble(("demo checkout: ", "red"), printable(error, 600))
        Console(stderr=True, highlight=False).print(message, soft_wrap=True)
        return 1
    out = Console(highlight=False)
    for line in describe(purchase):
        out.print(line, soft_wrap=True)
    return 0


def describe(purchase: checkout_client.Purchase) -> Iterator[Text]:
    """Yield the lines that describe the answer; the last line is the next command to type."""
    seconds = purchase.finished - purchase.started
    for name, value, style in (
        ("outcome", purchase.outcome, f"bold {status_colour(purchase.status)}"),
        ("answer", f"{purchase.status} {purchase.message}", ""),
        ("order", purchase.order_id or "none", ""),
        ("trace", purchase.trace_id, ""),
        ("took", f"{seconds:.3f} s", ""),
        ("next", f"demo follow {purchase.trace_id}", "bold"),
    ):
        yield Text.assemble((f"{name:<9}", "dim"), (printable(value), style))
