"""Validate the check digits of payment card numbers and of IBANs."""

TWICE_REDUCED = str.maketrans("0123456789", "0246813579")
"""Table for ``str.translate``: maps each digit to the digit sum of its double.

For example, 7 becomes 5, because 2 * 7 = 14 and 1 + 4 = 5.
"""


def has_valid_luhn_digit(digits: str) -> bool:
    """Return whether the last of ``digits`` is correct by Luhn's formula (ISO/IEC 7812-1, annex B).

    Counted from the right, every second digit is replaced by the digit sum of its double. The sum
    of all digits must then be a multiple of ten.
    """
    plain = digits[-1::-2]
    doubled = digits[-2::-2].translate(TWICE_REDUCED)
    return sum(map(int, plain + doubled)) % 10 == 0


def has_valid_iban_digits(iban: str) -> bool:
    """Return whether the check digits of ``iban``, its characters three and four, are correct.

    ``iban`` has no separators. The rule is MOD 97-10 of ISO/IEC 7064, as ISO 13616 demands: the
    first four characters move to the end, each letter becomes a number from 10 (A) to 35 (Z), and
    the resulting number must leave a remainder of 1 when divided by 97.
    """
    rearranged = iban[4:] + iban[:4]
    number = "".join(str(int(character, 36)) for character in rearranged)
    return int(number) % 97 == 1
