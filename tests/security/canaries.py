"""Canaries: random fake secrets; if one is found in telemetry, redaction has a leak."""

import secrets

TWICE_REDUCED = str.maketrans("0123456789", "0246813579")
"""Translates a digit to the digit sum of its double, for Luhn's check digit of card numbers."""


def digits(count: int) -> str:
    """Return ``count`` random digits; the first one is not zero."""
    first_digit = secrets.choice("123456789")
    return first_digit + "".join(secrets.choice("0123456789") for _ in range(count - 1))


def card_number(*, valid: bool = True) -> str:
    """Return a random Visa number; if ``valid`` is false, only its check digit is wrong."""
    body = "4" + digits(14)
    total = sum(map(int, body[-2::-2])) + sum(map(int, body[::-2].translate(TWICE_REDUCED)))
    check_digit = -total % 10 if valid else (1 - total) % 10
    return f"{body}{check_digit}"


def iban() -> str:
    """Return a random German IBAN with correct check digits."""
    account = digits(18)
    check_digits = 98 - int(f"{account}131400") % 97
    return f"DE{check_digits:02}{account}"


def grouped(number: str, separator: str) -> str:
    """Return ``number`` in groups of four characters with ``separator`` between them."""
    return separator.join(number[start : start + 4] for start in range(0, len(number), 4))


class Canaries:
    """One canary of each kind (card, IBAN, password and so on), in the usual ways of writing.

    Attributes:
        shown: The texts to send, by kind.
        hidden: The secrets in these texts, which must not be found anywhere afterwards.
        clean: Values that look similar or are needed for searches, and must be kept, by kind.
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
        """One text that contains all canaries, as in a message that a person wrote."""
        return "; ".join(f"it was {value} there" for value in self.shown.values())

    def found(self, output: str | bytes) -> set[str]:
        """Return the secrets (``hidden``) that occur in ``output``."""
        if isinstance(output, str):
            output = output.encode("utf-8", "surrogatepass")
        return {secret for secret in self.hidden if secret.encode() in output}
