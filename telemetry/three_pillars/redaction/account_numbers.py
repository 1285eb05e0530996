"""Redact payment card numbers and IBANs in texts, found by shape, length and check digits."""

import re
from collections.abc import Callable

from .check_digits import has_valid_iban_digits, has_valid_luhn_digit
from .rules import AFTER_PERCENT_CODE

GROUP_SEPARATOR = r"(?:[ +\xa0-]|%20|%2[Dd])"
"""Pattern of one separator between groups of digits.

It is a space, plus sign, no-break space or hyphen; space and hyphen may be percent-encoded.
"""
HEX_DIGIT = "[0-9A-Fa-f]"

# A card number begins with four digits, the first of which is 2 to 6. It does not begin inside a
# hexadecimal id or a percent-encoded character, nor behind a decimal point. It may follow a word,
# even one that ends in a letter from a to f.
CARD_START = re.compile(
    rf"(?:{AFTER_PERCENT_CODE}|(?<!{HEX_DIGIT})(?<!%)|(?<=[G-Zg-z][A-Fa-f]))(?<![0-9]\.)"
    r"(?=[2-6][0-9]{3})"
)
CARD_SHAPES = tuple(
    re.compile(f"{shape}(?!{HEX_DIGIT})")
    for shape in (
        # Without separators.
        "[0-9]{13,19}",
        # Four groups of four, and up to three digits more.
        f"[0-9]{{4}}(?:{GROUP_SEPARATOR}[0-9]{{4}}){{3}}(?:{GROUP_SEPARATOR}[0-9]{{1,3}})?",
        # Three groups of four, and up to four digits more.
        f"[0-9]{{4}}(?:{GROUP_SEPARATOR}[0-9]{{4}}){{2}}{GROUP_SEPARATOR}[0-9]{{1,4}}",
        # American Express and Diners Club: 4, 6, and 5 or 4 digits.
        f"[0-9]{{4}}{GROUP_SEPARATOR}[0-9]{{6}}{GROUP_SEPARATOR}[0-9]{{4,5}}",
    )
)

COUNTRIES_BY_IBAN_LENGTH = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
"""IBAN lengths in characters, without spaces, each with the codes of the countries that use it.

The source is SWIFT's IBAN registry.
"""
IBAN_START = re.compile(rf"(?:{AFTER_PERCENT_CODE}|(?<![0-9A-Za-z%]))(?=[A-Za-z]{{2}}[0-9]{{2}})")


def _iban_shape(length: int) -> re.Pattern[str]:
    further_characters = f"(?:{GROUP_SEPARATOR}?[0-9A-Za-z]){{{length - 1}}}"
    return re.compile(f"[0-9A-Za-z]{further_characters}(?![0-9A-Za-z])")


IBAN_SHAPE_BY_COUNTRY = {
    country: _iban_shape(length)
    for length, countries in COUNTRIES_BY_IBAN_LENGTH.items()
    for country in countries.split()
}


def redact_account_numbers(text: str) -> str:
    """Return ``text`` with valid IBANs replaced by ``[iban]`` and card numbers by ``[card]``."""
    text = _replace_numbers(text, IBAN_START, _iban_end, "[iban]")
    return _replace_numbers(text, CARD_START, _card_end, "[card]")


def _replace_numbers(
    text: str,
    start: re.Pattern[str],
    find_end: Callable[[str, int], int | None],
    replacement: str,
) -> str:
    """Return ``text`` with ``replacement`` in place of each number that ``find_end`` recognises.

    A number begins at a match of ``start``. ``find_end`` gets the text and the position of the
    match. It returns the position behind the number, or None if no valid number begins there.
    """
    match = start.search(text)
    while match:
        position = match.start()
        end = find_end(text, position)
        if end is None:
            position += 1
        else:
            text = text[:position] + replacement + text[end:]
            position += len(replacement)
        match = start.search(text, position)
    return text


def _card_end(text: str, position: int) -> int | None:
    """Return the position behind the valid card number that begins at ``position``, or None."""
    for shape in CARD_SHAPES:
        match = shape.match(text, position)
        if match and has_valid_luhn_digit(_without_separators(match[0])):
            return match.end()
    return None


def _iban_end(text: str, position: int) -> int | None:
    """Return the position behind the valid IBAN that begins at ``position``, or None."""
    shape = IBAN_SHAPE_BY_COUNTRY.get(text[position : position + 2].upper())
    match = shape.match(text, position) if shape else None
    if match and has_valid_iban_digits(_without_separators(match[0])):
        return match.end()
    return None


def _without_separators(number: str) -> str:
    return re.sub(GROUP_SEPARATOR, "", number)
