"""Customer data is not in telemetry, as docs/explanation/security.md promises."""

from tests.in_memory_shop import InMemoryShop, attributes_of

CARD = "my-very-own-card"
SECRETS = {"authorization": "Bearer very-own-token", "cookie": "session=very-own-session"}


def test_cards_and_headers_are_not_in_telemetry(shop: InMemoryShop) -> None:
    """A card, a bearer token and a cookie are in no span, log record, metric or exemplar."""
    assert shop.request(json={"card": CARD}, headers=SECRETS).is_success
    assert shop.request(json={"card": CARD, "items": 1}, headers=SECRETS).is_client_error
    spans = [
        (
            span.name,
            attributes_of(span),
            [attributes_of(event) for event in span.events],
            span.status.description,
        )
        for span in shop.spans
    ]
    records = [(record.body, attributes_of(record)) for record in shop.records]
    telemetry = "\n".join([str(spans), str(records), str(shop.samples()), shop.stdout.getvalue()])
    assert "place order" in telemetry, "the test looks in the wrong place"
    assert "very-own" not in telemetry
