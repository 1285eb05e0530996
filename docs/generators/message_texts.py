"""Collects the messages of the code from its syntax trees.

Messages are log events, errors that end a process, bodies of HTTP error responses, and the reasons
in OTLP's ``partial_success``. A computed value becomes a placeholder: ``f"OTLP export to {url}
failed"`` is "OTLP export to URL failed". A constant of the module becomes its number.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docs.generators.tables import cell

ROOT = Path(__file__).resolve().parents[2]

LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
RESPONSES = {"json_response", "_error_response"}
"""Functions that make an HTTP error response; their text arguments are messages."""

COUNTERS = {"rejected"}
"""Counters by reason, whose keys go into OTLP's ``partial_success``."""

REASONS = re.compile(
    r"problem|reason|refusal|describe|_message|_insert_point|report|how_to|warning"
)
"""Names of functions that return the text of a message, or a part of one."""

HIDDEN = {("environment.py", "ValueError"), ("__init__.py", "AttributeError")}
"""Errors that no operator sees: pydantic's validators only tell it which variable is wrong."""

KINDS = {
    "PaymentError": "log, error: the reason of `order not placed`",
    "ReadTimeout": "log, error: a part of `order not placed`",
    "LaunchError": "error of `demo`",
    "RunningError": "error of `demo`",
    "ValueError": "start-up error",
    "RuntimeError": "exception in a log record",
    "OverflowError": "exception in a log record",
    "HTTPError": "reason of a failed export",
    "ExportAbandonedError": "reason of a failed export",
    "UnknownFormatError": "log, warning: the reason of `moved aside`",
    ("writer.py", "error"): "response 429",
    ("orders.py", "ValueError"): "response 422",
}
"""How an error appears to an operator, by its class, or by file and class."""


@dataclass(frozen=True)
class Message:
    """One message: its text with placeholders, how it appears, and the file that holds it."""

    text: str
    kind: str
    file: str


def messages(folder: str) -> Iterator[Message]:
    """Yield the messages of all modules below ``folder``, in the order of the files."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        tree = _with_numbers(ast.parse(path.read_text(encoding="utf-8")))
        name = str(path.relative_to(ROOT / folder))
        for function, node in sorted(_nodes(tree), key=lambda pair: pair[1].lineno):
            for kind, expression in _candidates(node, function):
                if (name, kind) in HIDDEN:
                    continue
                for text in _sentences(expression, function, tree):
                    shown = KINDS.get((name, kind), KINDS.get(kind, kind))
                    yield Message(text, shown, name)


class _NumbersFilledIn(ast.NodeTransformer):
    """Replaces the constants of a module in its f-strings by their numbers."""

    def __init__(self, numbers: dict[str, float]) -> None:
        self.numbers = numbers

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.expr:
        """Return the number as text, or the node as it is."""
        if isinstance(node.value, ast.Name) and node.value.id in self.numbers:
            number = self.numbers[node.value.id]
            text = str(number) if isinstance(number, int) else f"{number:g}"
            return ast.copy_location(ast.Constant(text), node)
        return node


def _with_numbers(module: ast.Module) -> ast.Module:
    numbers: dict[str, float] = {}
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            number = _number(node.value)
            if number is not None:
                numbers[node.targets[0].id] = number
    transformed: ast.Module = _NumbersFilledIn(numbers).visit(module)
    return transformed


def _number(node: ast.expr) -> float | None:
    """Return the value of a number, a product or a power of numbers; None for anything else."""
    if isinstance(node, ast.Constant) and type(node.value) in {int, float}:
        number: float = node.value  # type: ignore[assignment]  # the line above checks it
        return number
    if isinstance(node, ast.BinOp):
        left = _number(node.left)
        right = _number(node.right)
        if left is not None and right is not None:
            if isinstance(node.op, ast.Mult):
                return left * right
            if isinstance(node.op, ast.Pow):
                power: float = left**right
                return power
    return None


Function = ast.FunctionDef | ast.AsyncFunctionDef | None
Node = ast.stmt | ast.expr


def _nodes(node: ast.AST, function: Function = None) -> Iterator[tuple[Function, Node]]:
    """Yield every statement and expression with the function that contains it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.expr):
            yield function, child
        inside = child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
        yield from _nodes(child, inside)


def _candidates(node: Node, function: Function) -> Iterator[tuple[str, ast.expr]]:
    """Yield the expressions in ``node`` that may be the text of a message, and how it appears."""
    if isinstance(node, ast.Call):
        kind = _kind_of_call(node)
        arguments = node.args if kind else []
        details = [keyword.value for keyword in node.keywords if keyword.arg == "detail"]
        if kind.startswith("log, "):
            arguments = [_with_percent(node)]
        for argument in [*arguments, *(details if kind else [])]:
            yield kind, argument
    elif isinstance(node, ast.Subscript) and _last_name(node.value) in COUNTERS:
        yield "partial success", node.slice
    elif isinstance(node, ast.Return) and node.value and function and REASONS.search(function.name):
        yield "part of a message", node.value


def _kind_of_call(call: ast.Call) -> str:
    """Return how the text arguments of a call appear; an empty string for any other call."""
    name = _last_name(call.func)
    full_name = ast.unparse(call.func)
    status = _status_of(call)
    if name in LEVELS and "log" in full_name.lower():
        return f"log, {name}"
    if name in RESPONSES or (name.endswith(("Error", "Exception")) and status):
        return f"response {status}".strip()
    if name.endswith(("Error", "Timeout")):
        return name
    if full_name == "super().__init__":
        return "error"
    return "start-up error" if full_name == "sys.stderr.write" else ""


def _status_of(call: ast.Call) -> str:
    for argument in call.args:
        if isinstance(argument, ast.Constant) and type(argument.value) is int:
            return str(argument.value)
    return ""


def _sentences(expression: ast.expr, function: Function, module: ast.Module) -> Iterator[str]:
    """Yield the texts of ``expression``: two words or more, not all of them computed.

    A variable stands for the text that was last assigned to it in the function, or in the module.
    """
    for value in _values(expression, function, module):
        if isinstance(value, ast.Constant | ast.JoinedStr | ast.BinOp):
            text = cell(_text(value)).replace("\\|", "|")
            if " " in text and re.search(r"[a-z]{2}", text):
                yield text


def _values(expression: ast.expr, function: Function, module: ast.Module) -> list[ast.expr]:
    if not isinstance(expression, ast.Name):
        return [expression]
    scopes: list[ast.AST] = [function, module] if function else [module]
    for scope in scopes:
        nodes = ast.walk(scope) if scope is function else ast.iter_child_nodes(scope)
        assigned = [
            node
            for node in nodes
            if isinstance(node, ast.Assign)
            and _last_name(node.targets[0]) == expression.id
            and node.lineno < expression.lineno
        ]
        if assigned:
            return [max(assigned, key=lambda node: node.lineno).value]
    return []


def _text(node: ast.expr) -> str:
    """Return the text of a string expression, with a placeholder for everything computed."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return _joined([_text(part) for part in node.values])
    if isinstance(node, ast.FormattedValue):
        return _placeholder(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _joined([_text(node.left), _text(node.right)])
    return _placeholder(node)


def _joined(parts: list[str]) -> str:
    """Join the parts of a text; a word and a placeholder that touch get a space between them."""
    text = ""
    for part in parts:
        if text[-1:].isalpha() and part[:1].isalpha() and text[-1:].isupper() != part[:1].isupper():
            text += " "
        text += part
    return text


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
