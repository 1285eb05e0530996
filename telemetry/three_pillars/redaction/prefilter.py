"""A cheap check whether a text may contain a secret; most texts thus skip the redaction rules."""

PREFILTER = (
    # Names of fields that hold secrets; see SECRET_NAMES in rules.py.
    "pass",
    "pwd",
    "secret",
    "token",
    "authoriz",
    "cookie",
    "key",
    "credential",
    "cv",
    # "Bearer" and "Basic", without the first letter: an escape sequence in front may swallow it.
    "earer",
    "asic",
    # The beginning of a JSON Web Token.
    "eyj",
    # An e-mail address or a URL with a password; the percent sign may encode any of the above.
    "@",
    "%",
)
"""Fragments of texts: every text with a secret or an e-mail address contains at least one of them.

The text is compared in lower case. A text with only card numbers or IBANs need not contain any of
these fragments; ``may_contain_secret`` looks for card numbers and IBANs separately.
"""


def _char_class(code: int) -> str:
    """Return ``0`` for an ASCII digit, ``a`` for an ASCII letter, and a space otherwise."""
    character = chr(code)
    if not character.isascii():
        return " "
    if character.isdigit():
        return "0"
    return "a" if character.isalpha() else " "


CHAR_CLASSES = "".join(_char_class(code) for code in range(256)).encode()
"""Table for ``bytes.translate``: digits become ``0``, letters ``a``, all other bytes a space."""
SHORTEST_CARD_NUMBER = b"0" * 13
IBAN_START = b" aa00"
"""How an IBAN begins after translation with CHAR_CLASSES.

These are a word boundary, two letters (country) and two digits (check digits).
"""


def may_contain_secret(text: str) -> bool:
    """Return False if ``text`` certainly holds nothing to redact, and True otherwise.

    The check runs on every text that is sent, so it is fast rather than exact: it also returns True
    for many texts in which the rules then find nothing.
    """
    lower = text.lower()
    for fragment in PREFILTER:  # faster than any() with a generator
        if fragment in lower:
            return True
    raw = text.encode("ascii", "replace")
    # Deleted are the separators between groups of digits; a no-break space has become a ``?``.
    if SHORTEST_CARD_NUMBER in raw.translate(CHAR_CLASSES, b" +-?"):
        return True
    return IBAN_START in b" " + raw.translate(CHAR_CLASSES)
