"""Collect the messages of the code from its syntax trees.

Messages are log events, errors that end a process, bodies of HTTP error responses, and the reasons
that the local store puts into OTLP's ``partial_success``.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docs.generators.message_texts import (
    fill_in_arguments,
    fill_in_numbers,
    is_sentence,
    last_name,
    text_of,
)

ROOT = Path(__file__).resolve().parents[2]

LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}

RESPONSES = {"json_response", "_error_response", "Refusal"}
"""Names of functions and classes that make an HTTP error response; their text arguments are
messages."""

COUNTING_METHODS = {"batch.reject", "batch.warn"}
"""Calls that count rejected or dropped items by reason; their first argument is a message in
OTLP's ``partial_success``."""

REASONS = re.compile(r"problem|reason|refusal|describe|_message|insert_point|report|how_to|warning")
"""Matches the names of functions that return the text of a message, or a part of one."""

HIDDEN = {("variable_types.py", "ValueError"), ("__init__.py", "AttributeError")}
"""Errors that are not listed, by file and class, because no operator sees their text: pydantic
only uses them to tell which variable is wrong."""

KINDS = {
    "PaymentError": "log, error: the reason of `order not placed`",
    "ReadTimeout": "log, error: a part of `order not placed`",
    "LaunchError": "error of `demo`",
    "RunningError": "error of `demo`",
    "ClusterError": "error of `make up-kubernetes` or `make down-kubernetes`",
    "ValueError": "start-up error",
    "RuntimeError": "exception in a log record",
    "OverflowError": "exception in a log record",
    "HTTPError": "reason of a failed export",
    "ExportAbandonedError": "reason of a failed export",
    "InvalidValueError": "partial success, or response 400",
    "WireError": "partial success, or response 400",
    "UnknownFormatError": "log, warning: the reason of `moved aside`",
}
"""How an error appears to an operator, by the class of the error."""

KINDS_IN_FILE = {
    ("writer.py", "error"): "response 429 or 503",
    ("orders.py", "ValueError"): "response 422",
    ("view_state.py", "ValueError"): "response 422",
    ("alert_inbox/routes.py", "ValueError"): "response 422",
    ("alert_inbox/drill_view.py", "ValueError"): "response 422",
}
"""How an error appears to an operator, by file and class, where it differs from ``KINDS``."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Node = ast.stmt | ast.expr


@dataclass(frozen=True)
class Message:
    """One message of the code.

    Attributes:
        text: Its text, with an upper-case placeholder for each value.
        kind: How it appears to an operator, such as ``log, error`` or ``response 429``.
        file: The file that contains it, relative to the folder that was searched.
    """

    text: str
    kind: str
    file: str


def messages(folder: str) -> Iterator[Message]:
    """Yield the messages of all modules below ``folder``, sorted by file and line."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        module = fill_in_numbers(ast.parse(path.read_text(encoding="utf-8")))
        file = str(path.relative_to(ROOT / folder))
        nodes = sorted(_nodes(module, None), key=lambda pair: pair[1].lineno)
        for function, node in nodes:
            for kind, expression in _candidates(node, function):
                text = _sentence(expression, function, module)
                if text and (file, kind) not in HIDDEN:
                    shown_kind = KINDS_IN_FILE.get((file, kind)) or KINDS.get(kind, kind)
                    yield Message(text, shown_kind, file)


def _nodes(node: ast.AST, function: Function | None) -> Iterator[tuple[Function | None, Node]]:
    """Yield every statement and expression below ``node``, with the function that contains it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.expr):
            yield function, child
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _nodes(child, child)
        else:
            yield from _nodes(child, function)


def _candidates(node: Node, function: Function | None) -> Iterator[tuple[str, ast.expr]]:
    """Yield the expressions of ``node`` that may be the text of a message.

    Each comes with its kind: how the message appears, such as ``log, error``, or an error class.
    """
    if isinstance(node, ast.Call):
        kind = _kind_of_call(node)
        for argument in _text_arguments(node, kind):
            yield kind, argument
    elif isinstance(node, ast.Return) and node.value and function and REASONS.search(function.name):
        yield "part of a message", node.value


def _text_arguments(call: ast.Call, kind: str) -> list[ast.expr]:
    if not kind:
        return []
    if kind == "partial success":
        return call.args[:1]
    if kind.startswith("log, "):
        return [fill_in_arguments(call)]
    details = [keyword.value for keyword in call.keywords if keyword.arg == "detail"]
    return [*call.args, *details]


def _kind_of_call(call: ast.Call) -> str:
    """Return the kind of the messages in the arguments of a call.

    It is, for example, ``log, error``, ``response 404`` or the name of an error class; empty if the
    arguments are no messages.
    """
    name = last_name(call.func)
    full_name = ast.unparse(call.func)
    status = _status_of(call)
    if full_name in COUNTING_METHODS:
        return "partial success"
    if name in LEVELS and "log" in full_name.lower():
        return f"log, {name}"
    if name in RESPONSES or (status and name.endswith(("Error", "Exception"))):
        return f"response {status}".strip()
    if name.endswith(("Error", "Timeout")):
        return name
    return {"super().__init__": "error", "sys.stderr.write": "stderr"}.get(full_name, "")


def _status_of(call: ast.Call) -> str:
    """Return the HTTP status in the arguments of a call, its first integer; empty if none."""
    for argument in call.args:
        if isinstance(argument, ast.Constant) and isinstance(argument.value, int):
            return str(argument.value)
    return ""


def _sentence(expression: ast.expr, function: Function | None, module: ast.Module) -> str:
    """Return the text of ``expression``, or an empty string if it is not a sentence.

    If it is a variable, the text is the one last assigned to it in the function, or in the module.
    """
    value: ast.expr | None = expression
    if isinstance(expression, ast.Name):
        value = _last_assigned(expression, function) if function else None
        value = value or _last_assigned(expression, module)
    if not isinstance(value, ast.Constant | ast.JoinedStr | ast.BinOp):
        return ""
    text = text_of(value)
    return text if is_sentence(text) else ""


def _last_assigned(name: ast.Name, scope: ast.AST) -> ast.expr | None:
    """Return the value of the last assignment to ``name`` above its use; None if there is none."""
    nodes = ast.iter_child_nodes(scope) if isinstance(scope, ast.Module) else ast.walk(scope)
    last_assignment: ast.Assign | None = None
    for node in nodes:
        if not isinstance(node, ast.Assign) or last_name(node.targets[0]) != name.id:
            continue
        if node.lineno < name.lineno and (
            last_assignment is None or node.lineno > last_assignment.lineno
        ):
            last_assignment = node
    return last_assignment.value if last_assignment else None
