"""The redaction rules: what they replace, what they keep, and how much time they take."""

import json
import random
from collections import namedtuple

import pytest

from tests.security.canaries import Canaries, card_number, grouped, iban
from three_pillars.redaction import redact_mapping, redact_text
from three_pillars.redaction.check_digits import has_valid_iban_digits, has_valid_luhn_digit
from three_pillars.values import to_otlp_value

PEM = "-----BEGIN RSA PRIVATE KEY-----"
REDACTED = {
    "4111111111111111": "[card]",
    "card=5555555555554444&x=1": "card=[card]&x=1",
    "6011 0000 0000 0004": "[card]",
    "4111-1111-1111-1111 123": "[card] 123",
    "378282246310005": "[card]",
    "3782 822463 10005": "[card]",
    "30569309025904": "[card]",
    "%204111111111111111": "%20[card]",
    "4111%201111%201111%201111": "[card]",
    "4111+1111+1111+1111": "[card]",
    "card4111111111111111": "card[card]",
    "2345 4111 1111 1111 1111": "2345 [card]",
    "quantity 2 4111 1111 1111 1111": "quantity 2 [card]",
    "4111\xa01111\xa01111\xa01111": "[card]",
    "DE89 3704 0044 0532 0130 00": "[iban]",
    "de89370400440532013000 please": "[iban] please",
    "GB82 WEST 1234 5698 7654 32": "[iban]",
    "PAY IBAN DE89 3704 0044 0532 0130 00 PLEASE": "PAY IBAN [iban] PLEASE",
    "ab12 please pay DE89 3704 0044 0532 0130 00 now": "ab12 please pay [iban] now",
    "MT84MALT011000012345MTLCAST001S": "[iban]",
    "<bob.o+tag@mail.example.co.uk>": "<[email]>",
    "mail=bob%40example.com&x": "mail=[email]&x",
    "4111111111111112@mail.com": "[email]",
    "ünal@büro.de": "[email]",
    "Authorization: Bearer abc.def-ghi": "Authorization: [secret]",
    "x%3B%20Bearer%20abc.def-ghi%3B": "x%3B%20Bearer%20[secret]%3B",
    "was%20eyJhbGciOi.eyJzdWIi.sig-x%3B": "was%20[secret]%3B",
    "it sent bearer abcdefgh123=": "it sent bearer [secret]",
    "Basic dXNlcjpwYXNz": "Basic [secret]",
    "eyJhbGciOi.eyJzdWIi.sig-x": "[secret]",
    "https://bob:hunter2@host/x": "https://[secret]@host/x",
    "postgres://u:p@ss@h/db": "postgres://[secret]@h/db",
    "Cookie: a=b; c=d": "Cookie: [secret]",
    "[(b'authorization', b'hunter2')]": "[(b'authorization', b'[secret]')]",
    "access_token=xyz&order=1": "access_token=[secret]&order=1",
    "X-Api-Key: abc": "X-Api-Key: [secret]",
    "password=hunter2;User=y": "password=[secret];User=y",
    '{"password": "correct horse", "order": "o-1"}': '{"password": "[secret]", "order": "o-1"}',
    r"{\"password\": \"hun ter\", \"o\": 1}": r"{\"password\": \"[secret]\", \"o\": 1}",
    r"{'Password': 'a\'b', 'x': 1}": "{'Password': '[secret]', 'x': 1}",
    "%22password%22%3A%22hunter2%22": "%22password%22%3A[secret]",
    "cvv=123": "cvv=[secret]",
    "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7": "AWS_SECRET_ACCESS_KEY=[secret]",
    "SECRET_KEY = 'k1 k2'": "SECRET_KEY = '[secret]'",
    "passwords: hunter2": "passwords: [secret]",
    "Authorization: Token 9944b0": "Authorization: [secret]",
    "x-authorization: ApiKey 9944b0": "x-authorization: [secret]",
    "private_key='MIIE\nvgIB'": "private_key='[secret]'",
    f"{PEM}\nMIIE\n-----END RSA PRIVATE KEY-----": f"{PEM}[secret]-----END RSA PRIVATE KEY-----",
    f"{PEM}\nMIIE": f"{PEM}[secret]",
}
"""Texts with something to redact, each with the expected text after redaction."""
Login = namedtuple("Login", "user password")  # noqa: PYI024  (as in foreign code)
KEPT = (
    "4111111111111112",
    "order-5555555555554445",
    "0.4532015112830366",
    "2026-11-25 10-17-51.123456",
    "1732529871123456789",
    "0bc7a087ab0bc7a087ab0bc7a087ab29",
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "de8937040044053201300012345678ab",
    "dead4111111111111111",
    "DE89370400440532013001",
    "verify-0bc7a087-29",
    "POST /checkout 200 success",
    "9.00 EUR",
    "[200, 301, 402, 503, 604]",
    "pkg@1.2.3 on root@localhost",
    "Basic authentication, wrong password, unexpected token",
    "input_tokens=512",
    "10.0.0.1:8000/metrics",
)
"""Texts that redaction must not change, although they resemble secrets, such as order ids."""

BEGINNINGS = (
    "",
    "token ",
    "//",
    "basic",
    "bearer ",
    "eyJ",
    "a@",
    'token="',
    "token=\\\\",
    "cookie: ",
    "password",
    "4111 ",
    "DE89 ",
)
REPEATED_PIECES = (
    ":",
    "+",
    " ",
    "\\",
    "a",
    "a.",
    "%20",
    "%40a",
    "@",
    "-",
    "0",
    "'",
    "token a",
    "1 ",
    "4111 ",
    "DE89 ",
    "a@",
    "//:",
    "basic+",
    "eyJ",
)
LONG_TEXT_LENGTH = 100_000


@pytest.mark.parametrize("text", list(REDACTED))
def test_secrets_are_replaced(text: str) -> None:
    """A card, IBAN, e-mail address or secret is replaced, and the text around it is kept."""
    assert redact_text(text) == REDACTED[text]


@pytest.mark.parametrize("text", KEPT)
def test_similar_texts_are_kept(text: str) -> None:
    """Order ids, amounts, times and trace ids are not redacted."""
    assert redact_text(text) == text


@pytest.mark.parametrize("text", [*REDACTED, *KEPT])
def test_redaction_is_idempotent(text: str) -> None:
    """Redacting a redacted text again does not change it."""
    assert redact_text(redact_text(text)) == redact_text(text)


def test_every_canary_is_found_in_every_place() -> None:
    """Secrets in texts, JSON, keys, lists and numbers are redacted, and other values are kept."""
    for _ in range(100):
        canaries = Canaries()
        fields: dict[str, object] = {
            "said": canaries.sentence,
            "list": [canaries.sentence],
            "in": {"deep": json.dumps(canaries.shown)},
            "number": int(canaries.shown["card"]),
            canaries.shown["e-mail"]: 1,
            "user.password": next(iter(canaries.hidden)),
        }
        redacted = repr(redact_mapping(fields | canaries.clean))
        assert canaries.found(redacted) == set()
        assert all(value in redacted for value in canaries.clean.values())


@pytest.mark.parametrize("text", REDACTED)
def test_escaped_characters_hide_nothing(text: str) -> None:
    """A secret behind a line break or another character that ``repr`` escapes is redacted."""
    for separator in "\n\t\x0b\u2028":
        assert redact_mapping({"event": f"refund to{separator}{text}"}) == {
            "event": f"refund to{separator}{redact_text(text)}"
        }


@pytest.mark.parametrize("name", ["cookie", "X-Api-Key", b"authorization"])
def test_headers_in_pairs_are_redacted(name: str | bytes) -> None:
    """Secret headers in a list of pairs, and secret fields of a named tuple, are redacted."""
    headers = [(name, "hunter2"), ("host", "h")]
    redacted = redact_mapping(to_otlp_value({"headers": headers, "login": Login("bob", "hunter2")}))
    assert redacted == {
        "headers": [[str(name), "[secret]"], ["host", "h"]],
        "login": {"user": "bob", "password": "[secret]"},
    }


def test_random_ids_and_invalid_numbers_are_kept() -> None:
    """Random hexadecimal ids and card numbers with a wrong check digit are not redacted."""
    generator = random.Random(1)  # noqa: S311  (the same ids in every run)
    ids = [f"{generator.getrandbits(128):032x}" for _ in range(20_000)]
    assert [text for text in ids if redact_text(text) != text] == []
    for _ in range(1000):
        invalid = card_number(valid=False)
        assert redact_text(invalid) == invalid
        text = f"for {grouped(card_number(), '-')}, from {grouped(iban(), ' ')}"
        assert redact_text(text) == "for [card], from [iban]"


def test_check_digits_detect_a_changed_digit() -> None:
    """A valid card number and a valid IBAN become invalid when one digit changes."""
    assert has_valid_luhn_digit("4111111111111111")
    assert not has_valid_luhn_digit("4111111111111112")
    assert has_valid_iban_digits("GB82WEST12345698765432")
    assert not has_valid_iban_digits("GB82WEST12345698765433")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_redaction_takes_linear_time(beginning: str) -> None:
    """The redaction of 100,000 repetitive characters takes seconds, as only linear time allows."""
    for piece in REPEATED_PIECES:
        # Without the first word, the prefilter would skip some of these texts.
        redact_text("pwd " + beginning + piece * (LONG_TEXT_LENGTH // len(piece)))
