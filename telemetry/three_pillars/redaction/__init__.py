"""What is nobody's business: card numbers, IBANs, e-mail addresses and secrets, taken out of every text before it leaves.

A number is a card's or an account's only if its check digits say so: an order id that merely looks like one stays.
"""

import re
from collections.abc import Mapping
from typing import Any

HINTS = "pass pwd secret token authoriz cookie key credential cv earer asic eyj @ %".split()  # noqa: SIM905  (half as long)
KINDS = (
    bytes(
        ord("0" if chr(each).isdigit() else "a" if chr(each).isalpha() else " ")
        for each in range(128)
    )
    + b" " * 128
)
NAMES = (
    "access[_-]?key|api[_-]?key|authorization|cookie|credentials?|cv[vc]2?|passphrase|passw(?:or)?ds?|private[_-]?key|pwd|"
    "secret[_-]?key|secrets?|token"
)
SCHEMES = "(?:bearer|basic|digest|token|api-?key|negotiate)"
LABEL = rf"""(?:{NAMES})(?:\\{{0,15}}["']|%22)?\s{{0,3}}(?:=>|=|:|%3[AD]|(?<=["']),)\s{{0,3}}(?:b?(\\{{0,15}}["']))?"""
GAP, HEX, BY_CODE = r"(?:[ +\xa0-]|%20|%2[Dd])", "[0-9A-Fa-f]", "(?<=%[0-9A-Fa-f]{2})"
SPACE = r"(?:[\s+]|%20)"
KEY = "[A-Z ]{0,24}PRIVATE KEY-----"
ESCAPED = re.compile(r"\\(?:x..|u....|U........|.)")
NAMED = re.compile(f"(?i:{NAMES})$")
RULES = [
    (re.compile(r"""(?i)(cookie: ?)[^\r\n"']+"""), r"\1[secret]"),
    (
        re.compile(rf"""(?i)({LABEL})(?(2)(?:(?!\2)(?s:\\.|.))*|(?:{SCHEMES}[\s+]+)?[^\s"'&;]+)"""),
        r"\1[secret]",
    ),
    (re.compile(f"(?s)(-----BEGIN {KEY}).*?(?=-----END {KEY}|\\Z)"), r"\1[secret]"),
    (re.compile(r"(//)[^\s/:]*:[^\s/]*(?=@)"), r"\1[secret]"),
    (re.compile(rf"(?i)(?:{BY_CODE}|\b)(bearer{SPACE}+)[\w.~+/-]{{6,}}=*"), r"\1[secret]"),
    (
        re.compile(
            rf"(?:{BY_CODE}|\b)((?i:basic){SPACE}{{1,8}})(?=[a-z+/]{{0,64}}[0-9A-Z=])[A-Za-z0-9+/]{{4,}}=*"
        ),
        r"\1[secret]",
    ),
    (re.compile(rf"(?:{BY_CODE}|(?<![\w-]))eyJ[\w-]{{5,}}\.[\w-]+\.[\w-]*"), "[secret]"),
    (re.compile(r"(?<![\w.+%-])[\w.+%-]+(?:@|%40)(?:[\w-]+\.)+[^\W\d_][\w-]+"), "[email]"),
]
CARD = re.compile(
    rf"(?:{BY_CODE}|(?<!{HEX})(?<!%)|(?<=[G-Zg-z][A-Fa-f]))(?<![0-9]\.)(?=[2-6][0-9]{{3}})"
)
CARDS = [
    re.compile(f"{shape}(?!{HEX})")
    for shape in (
        "[0-9]{13,19}",
        f"[0-9]{{4}}(?:{GAP}[0-9]{{4}}){{3}}(?:{GAP}[0-9]{{1,3}})?",
        f"[0-9]{{4}}(?:{GAP}[0-9]{{4}}){{2}}{GAP}[0-9]{{1,4}}",
        f"[0-9]{{4}}{GAP}[0-9]{{6}}{GAP}[0-9]{{4,5}}",
    )
]
LENGTHS = (  # of an IBAN, by country
    "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22GE22GI23"
    "GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28"
    "NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30"
)
IBAN = re.compile(rf"(?:{BY_CODE}|(?<![0-9A-Za-z%]))(?=[A-Za-z]{{2}}[0-9]{{2}})")
IBANS = {
    land: [re.compile(rf"[0-9A-Za-z](?:{GAP}?[0-9A-Za-z]){{{int(size) - 1}}}(?![0-9A-Za-z])")]
    for land, size in re.findall("(..)(..)", LENGTHS)
}


def text(value: str) -> str:
    """Return ``value`` without what it should not tell; done twice it is the same."""
    if not hinted(value):
        return value
    for rule, instead in RULES:
        value = rule.sub(instead, value)
    for begin, kind in ((IBAN, "[iban]"), (CARD, "[card]")):
        at = 0
        while found := begin.search(value, at):
            at = found.start()
            shapes = CARDS if begin is CARD else IBANS.get(value[at : at + 2].upper(), [])
            ends = [
                each.end()
                for each in (shape.match(value, at) for shape in shapes)
                if each and _adds_up(each[0])
            ]
            value, at = (
                (value[:at] + kind + value[ends[0] :], at + len(kind)) if ends else (value, at + 1)
            )
    return value


def fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes likewise; one that is named as a secret is one, whatever it says."""
    said = repr(values)  # its escapes end in letters, which a word would seem to begin with
    return (
        _fields(values)
        if hinted(ESCAPED.sub(" ", said) if "\\" in said else said)
        else dict(values)
    )


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        text(name): "[secret]" if NAMED.search(name) else _value(value)
        for name, value in values.items()
    }


def _value(value: Any) -> Any:  # noqa: ANN401  (an attribute's)
    match value:
        case str():
            return text(value)
        case Mapping():
            return _fields(value)
        case [str(name), _] if NAMED.search(
            name.rstrip("'")
        ):  # a header, as servers have them: a pair, perhaps of bytes
            return [text(name), "[secret]"]
        case list() | tuple():
            return [_value(each) for each in value]
        case int() | float() if (said := text(str(value))) != str(value):
            return said
    return value


def hinted(said: str) -> bool:
    """Whether there may be something. It sees every text, so it is fast, and says yes too often."""
    low = said.lower()
    for each in HINTS:
        if each in low:
            return True
    raw = said.encode("ascii", "replace")  # 13 digits, or the beginning of an IBAN
    return b"0" * 13 in raw.translate(KINDS, b" +-?") or b" aa00" in b" " + raw.translate(KINDS)


def _adds_up(said: str) -> bool:
    """Whether the check digits are right: of a card by Luhn, of an IBAN modulo 97."""
    said = re.sub(GAP, "", said)
    if said.isdigit():
        odd, even = said[-1::-2], said[-2::-2].translate(str.maketrans("0123456789", "0246813579"))
        return sum(map(int, odd + even)) % 10 == 0
    return int("".join(str(int(each, 36)) for each in said[4:] + said[:4])) % 97 == 1
