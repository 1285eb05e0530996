"""Write an event as one line of JSON.

Python's encoder prepares itself for nested values each time it is called. Most events have none:
their values are written one by one, with the same functions that Python's encoder uses.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from math import isfinite

MAX_REMEMBERED_NAMES = 1024
"""The number of names of fields that are kept in their encoded form."""


def to_json(event: Mapping[str, object]) -> str:
    """Return ``event`` as ``json.dumps`` does; its names are texts."""
    members = []
    for name, value in event.items():
        if type(value) is str:
            text = encode_basestring_ascii(value)
        elif type(value) is int or (type(value) is float and isfinite(value)):
            text = repr(value)
        else:
            return json.dumps(event)
        members.append(f"{_encoded_name(name)}: {text}")
    return f"{{{', '.join(members)}}}"


@lru_cache(MAX_REMEMBERED_NAMES)
def _encoded_name(name: str) -> str:
    return encode_basestring_ascii(name)
