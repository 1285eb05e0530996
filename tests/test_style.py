"""The rules of style in CONTRIBUTING.md that ruff does not check."""

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAX_TEMPLATE_LINE = 160


def tracked(*patterns: str) -> list[Path]:
    """Return the files that git tracks and whose paths match one of the patterns."""
    command = ["git", "ls-files", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for line in listed.stdout.splitlines() if (path := ROOT / line).exists()]


PYTHON_FILES = tracked("*.py")


def places(find: Callable[[Path], Iterator[ast.stmt | ast.expr]]) -> list[str]:
    """Return file and line of everything that ``find`` finds in the Python files."""
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}" for path in PYTHON_FILES for node in find(path)
    ]


KINDS = (ast.Assign, ast.IfExp, ast.BinOp)


@cache
def nodes_of(path: Path) -> list[ast.Assign | ast.IfExp | ast.BinOp]:
    """Return the nodes of a Python file that the tests look at.

    They are kept, because to parse the file takes most of the time of a test.
    """
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, KINDS)]


def packed_assignments(path: Path) -> Iterator[ast.stmt]:
    """Yield assignments of a tuple to a tuple (``a, b = x, y``), except swaps."""
    for node in nodes_of(path):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
            continue
        target = node.targets[0]
        if not isinstance(target, ast.Tuple):
            continue
        targets = sorted(ast.unparse(element) for element in target.elts)
        values = sorted(ast.unparse(element) for element in node.value.elts)
        if targets != values:
            yield node


def nested_conditionals(path: Path) -> Iterator[ast.expr]:
    """Yield conditional expressions (``x if a else y``) that directly contain another one."""
    for node in nodes_of(path):
        if isinstance(node, ast.IfExp):
            parts = (node.test, node.body, node.orelse)
            if any(isinstance(part, ast.IfExp) for part in parts):
                yield node


def multiplied_literals(path: Path) -> Iterator[ast.expr]:
    """Yield strings and lists that are multiplied by a condition, as in ``[item] * flag``."""
    conditions = (ast.Compare, ast.BoolOp, ast.Name, ast.Attribute)
    for node in nodes_of(path):
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
            continue
        is_list = isinstance(node.left, ast.List) and isinstance(node.right, conditions)
        is_text = isinstance(node.left, ast.Constant | ast.JoinedStr) and isinstance(
            node.right, ast.Compare | ast.BoolOp
        )
        if isinstance(node.left, ast.Constant) and not isinstance(node.left.value, str):
            is_text = False
        if is_list and isinstance(node.right, ast.Name | ast.Attribute):
            # A count is a number in capital letters or a call of len; a flag is a lower-case name.
            is_list = ast.unparse(node.right).rpartition(".")[2].islower()
        if is_list or is_text:
            yield node


def test_each_statement_does_one_thing() -> None:
    """A tuple is assigned to a tuple only to swap values, not to pack two assignments."""
    assert places(packed_assignments) == []


def test_conditionals_are_not_nested() -> None:
    """No conditional expression contains another one."""
    assert places(nested_conditionals) == []


def test_nothing_is_multiplied_by_a_condition() -> None:
    """No string or list is multiplied by a condition in place of an ``if``."""
    assert places(multiplied_literals) == []


def test_template_lines_are_short() -> None:
    """No line of an HTML template is longer than 160 characters."""
    long_lines = [
        f"{path.name}:{number}"
        for path in tracked("*.html")
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if len(line) > MAX_TEMPLATE_LINE
    ]
    assert long_lines == []


def test_the_library_has_no_complexity_exceptions() -> None:
    """The library has no ``noqa`` for complexity or for the number of arguments or statements."""
    exceptions = [
        f"{path.name}: {line.strip()}"
        for path in tracked("telemetry/three_pillars/*.py")
        for line in path.read_text().splitlines()
        if re.search(r"noqa:[^#]*\b(C901|PLR09\d\d)\b", line)
    ]
    assert not exceptions
