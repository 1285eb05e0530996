"""Secrets that nobody has, new in every run: wherever one of them is found, a real one would be too."""

import secrets

WEIGHTS = str.maketrans("0123456789", "0246813579")


def digits(count: int) -> str:
    """As many digits, the first no zero."""
    return str(secrets.choice(range(1, 10))) + "".join(
        secrets.choice("0123456789") for _ in range(count - 1)
    )


def card(*, valid: bool = True) -> str:
    """A Visa number, or one that only its check digit gives away."""
    body = "4" + digits(14)
    total = sum(map(int, body[-2::-2])) + sum(map(int, body[::-2].translate(WEIGHTS)))
    return f"{body}{(-total + (not valid)) % 10}"


def iban() -> str:
    """A German account."""
    account = digits(18)
    return f"DE{98 - int(f'{account}131400') % 97:02}{account}"


def groups(number: str, between: str) -> str:
    """A number in groups of four."""
    return between.join(number[at : at + 4] for at in range(0, len(number), 4))


class Canaries:
    """One of each, in the forms that people write; ``shown`` are the texts to send, ``hidden`` what may be found nowhere."""

    def __init__(self) -> None:
        plain, spaced, dashed, account, grouped = card(), card(), card(), iban(), iban()
        word, login = (secrets.token_hex(8) for _ in range(2))
        token, jwt = (
            secrets.token_urlsafe(24),
            f"eyJ{secrets.token_hex(8)}.eyJ{secrets.token_hex(8)}.{secrets.token_hex(8)}",
        )
        name = f"canary{secrets.token_hex(4)}"
        self.shown = {
            "card": plain,
            "card, spaced": groups(spaced, " "),
            "card, dashed": groups(dashed, "-"),
            "iban": account,
            "iban, grouped": groups(grouped, " "),
            "e-mail": f"{name}.one+shop@example.co.uk",
            "bearer": f"Bearer {token}",
            "jwt": jwt,
            "password": f"password={word}",
            "login": f"https://me:{login}@bank.example/",
        }
        self.hidden = {
            plain,
            spaced,
            dashed,
            groups(spaced, " "),
            groups(dashed, "-"),
            account,
            grouped,
            groups(grouped, " "),
        }
        self.hidden |= {
            groups(spaced, "%20"),
            groups(grouped, "%20"),
            groups(spaced, "+"),
            groups(grouped, "+"),
        }
        self.hidden |= {name, token, jwt, word, login}
        self.clean = {
            "order": card(valid=False),
            "trace": secrets.token_hex(16),
            "amount": "1234.56",
        }
        """What looks like one, or is searched for, and stays."""

    @property
    def sentence(self) -> str:
        """All of them, as somebody might write them into a message."""
        return "; ".join(f"it was {value} there" for value in self.shown.values())

    def found(self, told: str | bytes) -> set[str]:
        """Which of them are in what was told."""
        said = told if isinstance(told, bytes) else told.encode("utf-8", "surrogatepass")
        return {each for each in self.hidden if each.encode() in said}
