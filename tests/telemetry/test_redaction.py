"""The rules of redaction: what goes, what stays, twice alike, quick enough, and the same in both layers."""

import json
import random
from collections import namedtuple

import pytest

from tests.security.canaries import Canaries, card, groups, iban
from three_pillars import redaction
from three_pillars.values import encodable

PEM = "-----BEGIN RSA PRIVATE KEY-----"
GOES = {
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
Login = namedtuple("Login", "user password")  # noqa: PYI024  (as somebody else's code has it)
STAYS = (
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


@pytest.mark.parametrize("said", list(GOES))
def test_what_nobody_should_know_goes(said: str) -> None:
    """A card, an account, an address or a secret is replaced by what it was, and all around it stays."""
    assert redaction.text(said) == GOES[said]


@pytest.mark.parametrize("said", STAYS)
def test_what_merely_looks_like_it_stays(said: str) -> None:
    """Order ids, amounts, times and trace ids stay as they are: they are searched for."""
    assert redaction.text(said) == said


@pytest.mark.parametrize("said", [*GOES, *STAYS])
def test_twice_is_as_good_as_once(said: str) -> None:
    """The second layer changes nothing in what the first one has been over."""
    assert redaction.text(redaction.text(said)) == redaction.text(said)


def test_every_canary_goes_wherever_it_is() -> None:
    """In running text, in JSON, in a key, in a list, as a number: none of a thousand is left, and what is clean stays."""
    for _ in range(100):
        canaries = Canaries()
        about: dict[str, object] = {
            "said": canaries.sentence,
            "list": [canaries.sentence],
            "in": {"deep": json.dumps(canaries.shown)},
        }
        about |= {
            "number": int(canaries.shown["card"]),
            canaries.shown["e-mail"]: 1,
            "user.password": next(iter(canaries.hidden)),
        }
        told = repr(redaction.fields(about | canaries.clean))
        assert canaries.found(told) == set()
        assert all(each in told for each in canaries.clean.values())


@pytest.mark.parametrize("said", GOES)
def test_a_line_break_hides_nothing(said: str) -> None:
    """What stands behind a line break, a tab or another character that is spelled out goes from a field as from a text."""
    for gap in "\n\t\x0b\u2028":
        assert redaction.fields({"event": f"refund to{gap}{said}"}) == {
            "event": f"refund to{gap}{redaction.text(said)}"
        }


@pytest.mark.parametrize("name", ["cookie", "X-Api-Key", b"authorization"])
def test_a_header_in_a_pair_is_one(name: str | bytes) -> None:
    """Headers as servers have them, a list of pairs, perhaps of bytes, say no more than as a mapping; nor do named tuples."""
    told = redaction.fields(
        encodable({"headers": [(name, "hunter2"), ("host", "h")], "login": Login("bob", "hunter2")})
    )
    assert told == {
        "headers": [[str(name), "[secret]"], ["host", "h"]],
        "login": {"user": "bob", "password": "[secret]"},
    }


def test_random_ids_and_numbers_stay() -> None:
    """Of random hexadecimal ids none is eaten; of cards that a digit makes wrong none, of right ones all."""
    dice = random.Random(1)  # noqa: S311  (it repeats)
    ids = [f"{dice.getrandbits(128):032x}" for _ in range(20_000)]
    assert [each for each in ids if redaction.text(each) != each] == []
    for _ in range(1000):
        wrong = card(valid=False)
        assert redaction.text(wrong) == wrong
        assert (
            redaction.text(f"for {groups(card(), '-')}, from {groups(iban(), ' ')}")
            == "for [card], from [iban]"
        )


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
PIECES = (
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


@pytest.mark.timeout(60)
@pytest.mark.parametrize("begin", BEGINNINGS)
def test_no_text_takes_for_ever(begin: str) -> None:
    """Whatever keeps a rule busy takes time by its length, not by its square: that would be minutes here."""
    for piece in PIECES:
        redaction.text(
            "pwd " + begin + piece * (100_000 // len(piece))
        )  # the first word, or nobody would look at all
