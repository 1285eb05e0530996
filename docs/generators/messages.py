"""The page docs/reference/messages.md: every message that an operator may search for.

What to do about each message is written by hand in docs/reference/messages.toml.
"""

import tomllib

from docs.generators.message_sources import ROOT, Message, messages
from docs.generators.tables import NOTE, code, table

ACTIONS = ROOT / "docs" / "reference" / "messages.toml"

GROUPS = {
    "The telemetry library": "telemetry/three_pillars",
    "Both services": "services/common",
    "checkout": "services/checkout",
    "payment": "services/payment",
    "The local store": "demo/three_pillar_demo/local_store",
    "The web UI": "demo/three_pillar_demo/web",
    "The stack launcher": "demo/three_pillar_demo/stack",
    "Kubernetes": "demo/three_pillar_demo/kubernetes",
}
"""The headings of the page, each with the folder whose messages are listed below it."""

HEAD = f"""{NOTE}

# Messages

Every message that the library, the services, the local store, the web UI, the launcher and the
start on Kubernetes print or answer, with what to do about it. Words in capitals stand for a
value. Services log JSON lines; the message is the field `event`. The other processes log plain
lines. `demo logs NAME` prints the log of a component. Errors that end a process are written to
its stderr. A rejected setting is one line: `VARIABLE=VALUE: what is wrong (what is allowed)`;
[settings](settings.md) lists what is allowed. The reasons of `partial success` are the local
store's answer to an OTLP request that it stored in part; the sender's exporter logs them.

To add a message, write it in the code, add an entry to `docs/reference/messages.toml`, and run
`make docs`. A test fails when a message has no entry, or an entry has no message.
"""


def page() -> str:
    """Return the text of docs/reference/messages.md."""
    actions = load_actions()
    parts = [HEAD]
    for heading, folder in GROUPS.items():
        rows: list[tuple[str, ...]] = []
        merged: dict[str, list[Message]] = {}
        for message in messages(folder):
            merged.setdefault(message.text, []).append(message)
        for text, places in merged.items():
            kinds = ", ".join(dict.fromkeys(place.kind for place in places))
            files = ", ".join(dict.fromkeys(code(place.file) for place in places))
            rows.append((code(text), kinds, actions.get(text, ""), files))
        headings = ("message", "appears as", "what to do", "source")
        parts.append(f"## {heading}\n\nBelow `{folder}/`.\n\n{table(headings, rows)}\n")
    return "\n".join(parts)


def load_actions() -> dict[str, str]:
    """Return the entries of messages.toml: what to do about a message, by its text."""
    entries: dict[str, str] = tomllib.loads(ACTIONS.read_text(encoding="utf-8"))["messages"]
    return entries


def all_messages() -> set[str]:
    """Return the text of every message below the folders of ``GROUPS``."""
    return {message.text for folder in GROUPS.values() for message in messages(folder)}
