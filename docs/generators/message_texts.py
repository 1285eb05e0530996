"""Turn the string expressions of the code into the text of a message.

A computed value becomes a placeholder: ``f"OTLP export to {url} failed"`` becomes "OTLP export to
URL failed". The name of a numeric constant of the module becomes its number.
"""

import ast
import re

from docs.generators.tables import cell

BUILTIN_NAMES = {"str", "type", "ascii", "repr", "len", "join", "get", "sorted", "min", "max"}
"""Functions and methods that are never used as a placeholder, because their names do not
describe the value."""


def is_sentence(text: str) -> bool:
    """Return whether ``text`` has at least two words, one of them in lower case."""
    return " " in text and re.search(r"[a-z]{2}", text) is not None


def text_of(expression: ast.expr) -> str:
    """Return the text of a string expression on one line, with placeholders for values."""
    return cell(_raw_text(expression)).replace("\\|", "|")


def fill_in_arguments(log_call: ast.Call) -> ast.expr:
    """Return the event of a log call with each ``%s`` replaced by a placeholder of its argument."""
    if not log_call.args:
        return ast.Constant("")
    event = log_call.args[0]
    if not isinstance(event, ast.Constant) or not isinstance(event.value, str):
        return event
    text = event.value
    for argument in log_call.args[1:]:
        text = re.sub("%[sdrg]", _placeholder(argument), text, count=1)
    return ast.Constant(text)


def fill_in_numbers(module: ast.Module) -> ast.Module:
    """Return ``module`` with its numeric constants in f-strings replaced by their numbers."""
    numbers: dict[str, float] = {}
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            number = _number(node.value)
            if number is not None:
                numbers[node.targets[0].id] = number
    transformed: ast.Module = _NumbersFilledIn(numbers).visit(module)
    return transformed


def last_name(node: ast.AST) -> str:
    """Return the last part of a dotted name; an empty string for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    return ""


class _NumbersFilledIn(ast.NodeTransformer):
    """Replaces the names of numeric constants in f-strings by their numbers."""

    def __init__(self, numbers: dict[str, float]) -> None:
        self.numbers = numbers

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.expr:
        """Return the number as text if ``node`` is a known constant, or else ``node`` unchanged."""
        if not isinstance(node.value, ast.Name) or node.value.id not in self.numbers:
            return node
        number = self.numbers[node.value.id]
        text = str(number) if isinstance(number, int) else f"{number:g}"
        return ast.copy_location(ast.Constant(text), node)


def _number(node: ast.expr) -> float | None:
    """Return the value of a number, or of a product or power of numbers; None for anything else."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, int | float) else None
    if not isinstance(node, ast.BinOp):
        return None
    left = _number(node.left)
    right = _number(node.right)
    if left is None or right is None:
        return None
    if isinstance(node.op, ast.Mult):
        return left * right
    if isinstance(node.op, ast.Pow):
        return float(left**right) if isinstance(left, float) else int(left**right)
    return None


def _raw_text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return _join([_raw_text(part) for part in node.values])
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _join([_raw_text(node.left), _raw_text(node.right)])
    if isinstance(node, ast.FormattedValue):
        return _placeholder(node.value)
    return _placeholder(node)


def _join(parts: list[str]) -> str:
    """Join the parts of a text, with a space where a word and a placeholder would touch."""
    text = ""
    for part in parts:
        both_letters = text[-1:].isalpha() and part[:1].isalpha()
        if both_letters and text[-1].isupper() != part[0].isupper():
            text += " "
        text += part
    return text


def _placeholder(node: ast.expr) -> str:
    """Return the upper-case name that stands for a computed value.

    ``response.headers.get("location")`` gives LOCATION, ``str(error)[:200]`` gives ERROR.
    """
    if isinstance(node, ast.Subscript):
        return _placeholder(node.value)
    if isinstance(node, ast.Call) and last_name(node.func) == "get":
        key = node.args[0]
        if isinstance(key, ast.Constant):
            return _upper(str(key.value))
    for part in ast.walk(node):
        name = last_name(part)
        if name and not name.startswith("__") and name not in BUILTIN_NAMES:
            return _upper(name)
    return "VALUE"


def _upper(name: str) -> str:
    return re.sub(r"\W+", "_", name).strip("_").upper()
