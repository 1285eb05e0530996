"""The page docs/reference/messages.md: every message that an operator may search for.

The messages are collected from the syntax trees of the code: log events, errors that end a
process, bodies of HTTP error responses, and the reasons in OTLP's ``partial_success``. A field of
an f-string becomes a placeholder: ``f"OTLP export to {url} failed"`` is listed as "OTLP export to
URL failed". What to do about each message is written by hand in docs/reference/messages.toml.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docs.generators.tables import NOTE, cell, code, table

ROOT = Path(__file__).resolve().parents[2]
ACTIONS = ROOT / "docs" / "reference" / "messages.toml"

GROUPS = {
    "The telemetry library": "telemetry/three_pillars",
    "Both services": "services/common",
    "checkout": "services/checkout",
    "payment": "services/payment",
    "The local store": "demo/three_pillar_demo/local_store",
    "The stack launcher": "demo/three_pillar_demo/stack",
}
"""The headings of the page, and the folder whose messages each of them lists."""

LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
RESPONSES = {"answer", "json_response", "_refusal", "_response", "error_response"}
"""Functions that make an HTTP error response; their text arguments are messages."""

COUNTERS = {"refused", "rejected"}
"""Counters by reason, whose keys go into OTLP's ``partial_success``."""

HEAD = f"""{NOTE}

# Messages

Every message that the library, the services, the local store and the launcher print or answer,
with what to do about it. Words in capitals stand for a value. Services log JSON lines; the message
is the field `event`. The local store and the launcher log plain lines. `demo logs NAME` prints the
log of a component. Errors that end a process are written to its stderr.

To add a message, write it in the code, add an entry to `docs/reference/messages.toml`, and run
`make docs`. A test fails when a message has no entry, or an entry has no message.
"""


@dataclass(frozen=True)
class Message:
    """One message: its text with placeholders, how it appears, and the file that holds it."""

    text: str
    kind: str
    file: str


def page() -> str:
    """Return the page."""
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
    """Return what to do, by the text of the message."""
    entries: dict[str, str] = tomllib.loads(ACTIONS.read_text(encoding="utf-8"))["messages"]
    return entries


def all_messages() -> set[str]:
    """Return the text of every message below the folders of ``GROUPS``."""
    return {message.text for folder in GROUPS.values() for message in messages(folder)}


def messages(folder: str) -> Iterator[Message]:
    """Yield the messages of all modules below ``folder``, in the order of the files."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        name = str(path.relative_to(ROOT / folder))
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.stmt | ast.expr)]
        for node in sorted(nodes, key=lambda node: node.lineno):
            for kind, text in _messages_of(node):
                yield Message(text, kind, name)


def _messages_of(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        call = node.exc
        yield from _texts(_kind_of_error(call), _arguments(call))
    elif isinstance(node, ast.Call):
        name = _last_name(node.func)
        if name in LEVELS and "log" in ast.unparse(node.func).lower():
            yield from _texts(f"log, {name}", [_with_percent(node)])
        elif name in RESPONSES:
            yield from _texts(f"response {_status_of(node)}".strip(), _arguments(node))
        elif ast.unparse(node.func) == "sys.stderr.write":
            yield from _texts("start-up error", node.args)
    elif isinstance(node, ast.Subscript) and _last_name(node.value) in COUNTERS:
        yield from _texts("partial success", [node.slice])


def _arguments(call: ast.Call) -> list[ast.expr]:
    details = [
        keyword.value for keyword in call.keywords if keyword.arg in {None, "detail", "reason"}
    ]
    return [*call.args, *details]


def _kind_of_error(call: ast.Call) -> str:
    status = _status_of(call)
    if status:
        return f"response {status}"
    return f"{_last_name(call.func)}"


def _status_of(call: ast.Call) -> str:
    for argument in call.args:
        if isinstance(argument, ast.Constant) and isinstance(argument.value, int):
            return str(argument.value)
    return ""


def _texts(kind: str, arguments: list[ast.expr]) -> Iterator[tuple[str, str]]:
    """Yield the arguments that are sentences: text of two words or more, with a literal part."""
    for argument in arguments:
        if not isinstance(argument, ast.Constant | ast.JoinedStr | ast.BinOp):
            continue
        text = cell(_text(argument)).replace("\\|", "|")
        if " " in text and re.search(r"[a-z]{2}", text):
            yield kind, text


def _text(node: ast.expr) -> str:
    """Return the text of a string expression, with a placeholder for everything computed."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _placeholder(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return _placeholder(node)


def _with_percent(call: ast.Call) -> ast.expr:
    """Return the first argument of a log call, with %s replaced by the placeholders."""
    if not call.args:
        return ast.Constant("")
    event = call.args[0]
    if isinstance(event, ast.Constant) and isinstance(event.value, str):
        text = event.value
        for argument in call.args[1:]:
            text = re.sub(r"%[sdrg]", lambda _, value=argument: _placeholder(value), text, count=1)
        return ast.Constant(text)
    return event


def _placeholder(node: ast.expr) -> str:
    """Return the upper-case name that stands for a computed value."""
    constants = [
        item.value
        for item in ast.walk(node)
        if isinstance(item, ast.Constant) and isinstance(item.value, str)
    ]
    names = [
        name
        for item in ast.walk(node)
        if (name := _last_name(item)) and not name.startswith("__") and name not in IGNORED_NAMES
    ]
    # ``response.headers.get("location")`` is LOCATION, ``str(error)[:200]`` is ERROR.
    if isinstance(node, ast.Call) and _last_name(node.func) == "get" and constants:
        return _upper(constants[0])
    if isinstance(node, ast.Subscript):
        return _placeholder(node.value)
    return _upper(names[0]) if names else "VALUE"


IGNORED_NAMES = {"str", "type", "ascii", "repr", "len", "join", "get", "sorted", "min", "max"}


def _upper(name: str) -> str:
    return re.sub(r"\W+", "_", name).strip("_").upper()


def _last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    return ""
