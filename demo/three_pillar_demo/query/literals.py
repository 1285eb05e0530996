"""Writes texts as string literals of TraceQL, LogQL and PromQL."""

import json


def quoted(text: str) -> str:
    """Return ``text`` as a quoted, escaped string literal for TraceQL, LogQL and PromQL.

    Characters outside of ASCII stay as they are: the three languages do not read JSON's escape of a
    character beyond U+FFFF, such as an emoji. What UTF-8 cannot express, such as a byte of the
    command line that is not UTF-8, becomes U+FFFD.
    """
    valid = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return json.dumps(valid, ensure_ascii=False)
