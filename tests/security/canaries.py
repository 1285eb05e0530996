"""Canaries: random secrets that belong to nobody, so that finding one proves a leak."""

import secrets

TWICE_REDUCED = str.maketrans("0123456789", "0246813579")
"""The digit sum of twice a digit, for Luhn's formula; see three_pillars/redaction."""


def digits(count: int) -> str:
    """Return ``count`` random digits, of which the first is not zero."""
    first = secrets.choice("123456789")
    return first + "".join(secrets.choice("0123456789") for _ in range(count - 1))


def card_number(*, valid: bool = True) -> str:
    """Return a random Visa number; an invalid one is wrong in its check digit only."""
    body = "4" + digits(14)
    total = sum(map(int, body[-2::-2])) + sum(map(int, body[::-2].translate(TWICE_REDUCED)))
    check_digit = -total % 10 if valid else (1 - total) % 10
    return f"{body}{check_digit}"


def iban() -> str:
    """Return the IBAN of a random German account."""
    account = digits(18)
    check_digits = 98 - int(f"{account}131400") % 97
    return f"DE{check_digits:02}{account}"


def grouped(number: str, separator: str) -> str:
    """Return ``number`` in groups of four characters."""
    return separator.join(number[start : start + 4] for start in range(0, len(number), 4))


class Canaries:
    """One canary of each kind, in the forms that people write.

    ``shown`` has the texts to send, by kind; ``hidden`` what must be found nowhere afterwards;
    ``clean`` what looks similar, or is searched for, and must be kept.
    """

    def __init__(self) -> None:
        plain_card = card_number()
        spaced_card = card_number()
        dashed_card = card_number()
        account = iban()
        grouped_account = iban()
        password = secrets.token_hex(8)
        url_password = secrets.token_hex(8)
        token = secrets.token_urlsafe(24)
        jwt = f"eyJ{secrets.token_hex(8)}.eyJ{secrets.token_hex(8)}.{secrets.token_hex(8)}"
        user = f"canary{secrets.token_hex(4)}"
        self.shown = {
            "card": plain_card,
            "card, spaced": grouped(spaced_card, " "),
            "card, dashed": grouped(dashed_card, "-"),
            "iban": account,
            "iban, grouped": grouped(grouped_account, " "),
            "e-mail": f"{user}.one+shop@example.co.uk",
            "bearer": f"Bearer {token}",
            "jwt": jwt,
            "password": f"password={password}",
            "login": f"https://me:{url_password}@bank.example/",
        }
        self.hidden = {plain_card, spaced_card, dashed_card, account, grouped_account}
        self.hidden |= {user, token, jwt, password, url_password, grouped(dashed_card, "-")}
        for separator in (" ", "%20", "+"):
            self.hidden |= {grouped(spaced_card, separator), grouped(grouped_account, separator)}
        self.clean = {
            "order": card_number(valid=False),
            "trace": secrets.token_hex(16),
            "amount": "1234.56",
        }

    @property
    def sentence(self) -> str:
        """All canaries, as somebody might write them into a message."""
        return "; ".join(f"it was {value} there" for value in self.shown.values())

    def found(self, output: str | bytes) -> set[str]:
        """Return the canaries that are in ``output``."""
        if isinstance(output, str):
            output = output.encode("utf-8", "surrogatepass")
        return {secret for secret in self.hidden if secret.encode() in output}
