"""The redaction rules that are regular expressions: for secrets, tokens and e-mail addresses.

``RULES`` are applied in their order. Each rule takes time in proportion to the length of the text,
because a client may choose a long text to block the process. Therefore the repetitions in a pattern
have an upper bound or cannot overlap.
"""

import re
from typing import NamedTuple

SECRET_NAMES = (
    "access[_-]?key|api[_-]?key|authorization|cookie|credentials?|cv[vc]2?|passphrase|"  # noqa: S105
    "passw(?:or)?ds?|private[_-]?key|pwd|secret[_-]?key|secrets?|token"
)
"""Pattern of words such as ``password``: a field whose name ends in one of them holds a secret.

The same list is in ``otel-collector.yaml`` of this repository.
"""

SECRET_FIELD_NAME = re.compile(f"(?i:{SECRET_NAMES})$")

AFTER_PERCENT_CODE = "(?<=%[0-9A-Fa-f]{2})"
"""Pattern of the position right behind a percent-encoded character, as in ``%2Fbearer``.

A word can begin at this position. A word boundary does not find it, because F and b are letters.
"""
SPACE = r"(?:[\s+]|%20)"
AUTH_SCHEMES = "(?:bearer|basic|digest|token|api-?key|negotiate)"
LABEL = (
    rf"(?:{SECRET_NAMES})"
    r"""(?:\\{0,15}["']|%22)?"""  # the quote that ends a quoted name, perhaps escaped or encoded
    r"""\s{0,3}(?:=>|=|:|%3[AD]|(?<=["']),)\s{0,3}"""  # the separator; a comma only in a tuple
    r"""(?:b?(\\{0,15}["']))?"""  # the quote that begins the value: the only group in here
)
"""Pattern of a secret's name and the separator before its value, such as ``"token": "``.

It covers the notations of JSON, URLs, headers and Python's ``repr``.
"""
PEM_LABEL = "[A-Z ]{0,24}PRIVATE KEY-----"


class Rule(NamedTuple):
    r"""A redaction rule: every match of ``pattern`` is replaced by ``replacement``.

    The replacement may refer to groups of the pattern, as in ``\1[secret]``, to keep the text that
    the groups matched.
    """

    name: str
    pattern: re.Pattern[str]
    replacement: str


RULES = (
    # The header has several values, each with its own name, so all of the line is secret.
    Rule(
        "cookie header",
        re.compile(r"""(?i)(cookie: ?)[^\r\n"']+"""),
        r"\1[secret]",
    ),
    # The value behind a secret's name: up to the same quote if it is quoted, otherwise one word,
    # behind the authentication scheme if there is one.
    Rule(
        "named secret",
        re.compile(
            rf"(?i)({LABEL})"
            rf"""(?(2)(?:(?!\2)(?s:\\.|.))*|(?:{AUTH_SCHEMES}[\s+]+)?[^\s"'&;]+)"""
        ),
        r"\1[secret]",
    ),
    # The lines between BEGIN and END of a private key in PEM format; a truncated key has no END.
    Rule(
        "private key",
        re.compile(f"(?s)(-----BEGIN {PEM_LABEL}).*?(?=-----END {PEM_LABEL}|\\Z)"),
        r"\1[secret]",
    ),
    # user:password in a URL; the password may contain an @, so the last one ends it.
    Rule(
        "URL credentials",
        re.compile(r"(//)[^\s/:]*:[^\s/]*(?=@)"),
        r"\1[secret]",
    ),
    # A token behind "Bearer" in running text; it has at least six characters, unlike most words.
    Rule(
        "bearer token",
        re.compile(rf"(?i)(?:{AFTER_PERCENT_CODE}|\b)(bearer{SPACE}+)[\w.~+/-]{{6,}}=*"),
        r"\1[secret]",
    ),
    # Base64 behind "Basic". It must have a capital letter, a digit or padding early on, or "basic
    # authentication" would be one.
    Rule(
        "basic credentials",
        re.compile(
            rf"(?:{AFTER_PERCENT_CODE}|\b)((?i:basic){SPACE}{{1,8}})"
            r"(?=[a-z+/]{0,64}[0-9A-Z=])[A-Za-z0-9+/]{4,}=*"
        ),
        r"\1[secret]",
    ),
    # A JSON Web Token: three Base64 parts, the first of which begins with '{"' and so with "eyJ".
    Rule(
        "JSON Web Token",
        re.compile(rf"(?:{AFTER_PERCENT_CODE}|(?<![\w-]))eyJ[\w-]{{5,}}\.[\w-]+\.[\w-]*"),
        "[secret]",
    ),
    # An address with an @, plain or percent-encoded, whose top-level domain begins with a letter:
    # "package@1.2.3" and "root@localhost" are none.
    Rule(
        "e-mail address",
        re.compile(r"(?<![\w.+%-])[\w.+%-]+(?:@|%40)(?:[\w-]+\.)+[^\W\d_][\w-]+"),
        "[email]",
    ),
)
