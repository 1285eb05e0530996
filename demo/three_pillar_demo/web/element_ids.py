"""Ids of HTML elements that are made from names, such as those of services."""

import hashlib
import re
from collections import Counter

PLAIN_NAME = re.compile(r"[0-9A-Za-z]{1,40}", re.ASCII)
"""The pattern of a name that is a part of an id as it is."""
DIGEST_BYTES = 8
"""The length of the digest that is the part of an id for any other name."""


def element_id(kind: str, *names: object) -> str:
    """Return the id of an element: ``edge-checkout-payment``.

    The id begins with ``kind``, a word that the templates use for nothing else. Different names
    give different ids, whatever the names contain, and an id never has a blank.
    """
    return "-".join([kind, *(_part(str(name)) for name in names)])


class UniqueIds:
    """Gives the elements of one page ids that no other element of the page has."""

    def __init__(self) -> None:
        self._uses: Counter[str] = Counter()

    def next(self, kind: str, *names: object) -> str:
        """Return ``element_id(kind, *names)``; from the second time on with a number after it."""
        identifier = element_id(kind, *names)
        self._uses[identifier] += 1
        count = self._uses[identifier]
        return identifier if count == 1 else f"{identifier}_{count}"


def _part(name: str) -> str:
    """Return a name as a part of an id: itself, or ``_`` and a digest, which no plain name has."""
    if PLAIN_NAME.fullmatch(name):
        return name
    encoded = name.encode(errors="surrogatepass")
    return f"_{hashlib.blake2b(encoded, digest_size=DIGEST_BYTES).hexdigest()}"
