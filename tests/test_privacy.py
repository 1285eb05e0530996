"""What a customer confides to the shop, and what telemetry must not know (docs/explanation/security.md)."""

from tests.conftest import House, about

CARD = "my-very-own-card"
SECRETS = {"authorization": "Bearer very-own-token", "cookie": "session=very-own-session"}


def test_cards_and_headers_stay_out_of_telemetry(house: House) -> None:
    """A card, a bearer token and a cookie are in no span, log line, metric or exemplar, whatever came of the purchase."""
    assert house.ask(json={"card": CARD}, headers=SECRETS).is_success
    assert house.ask(json={"card": CARD, "items": 1}, headers=SECRETS).is_client_error
    spans = [
        (span.name, about(span), [about(event) for event in span.events], span.status.description)
        for span in house.spans
    ]
    told = "\n".join(
        [
            str(spans),
            str([(record.body, about(record)) for record in house.records]),
            str(house.samples()),
            house.stdout.getvalue(),
        ]
    )
    assert "place order" in told  # it looked where things are
    assert "very-own" not in told
