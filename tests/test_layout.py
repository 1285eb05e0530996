"""The house's own rules: who imports whom, one spelling, a size to read in one sitting, simulation in one place."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = {name: ROOT / "services" / name for name in ("checkout", "payment", "doors")} | {
    name: ROOT / name
    for name in (
        "telemetry",
        "guards",
        "delivery",
        "settings",
        "embedded",
        "backends",
        "demo",
        "console",
    )
}
MAY_IMPORT = {
    "checkout": {"checkout", "doors", "telemetry", "settings"},
    "payment": {"payment", "doors", "telemetry", "settings"},
    "doors": {"doors", "telemetry", "guards", "settings"},
    "telemetry": {"telemetry", "guards", "delivery", "settings"},
    "guards": {"guards"},
    "delivery": {"delivery"},
    "settings": {"settings"},
    "embedded": {"embedded", "delivery", "settings"},
    "backends": {"backends"},
    "demo": {"demo", "backends"},
    "console": {"console", "demo", "backends", "settings"},
}
ROOMS = {
    "stack": {"stack"},
    "request": {"request"},
    "customers": {"customers", "request"},
    "proof": {"proof", "customers", "request", "stack"},
    "drills": {"drills", "customers", "stack"},
    "rehearse": {"rehearse", "proof", "customers", "request", "stack"},
}
"""Rooms of ``demo/`` and those that each may enter. What is not in a room joins them: the command, the tour, who is asked."""
SHOWN = {
    "demo.asking",
    "demo.customers",
    "demo.request",
    "demo.stack.answering",
    "demo.drills.desk",
    "demo.drills.catalogue",
}
"""What the page may enter of the demo: whom to ask, who buys, one request's story, who answers, the drill that is played."""
WIRE = {
    "embedded": {"opentelemetry.proto"},
    "demo": set[str](),
    "backends": set[str](),
    "console": set[str](),
}
"""What of OpenTelemetry those may import that are no service."""
API = {
    "opentelemetry.trace",
    "opentelemetry.metrics",
    "opentelemetry.context",
    "opentelemetry.propagate",
    "opentelemetry.baggage",
}
DRILLED = ("services/checkout/faults.py", "services/common/active_faults.py")
"""What is there for drills alone."""
FOREIGN_KEYS = {
    "demo/three_pillar_demo/query/http_clients.py",
    "demo/three_pillar_demo/query/lgtm.py",
    "demo/three_pillar_demo/verify/links.py",
    "grafana/checkout.py",
    "tests/end_to_end/test_dashboards.py",
    "tests/end_to_end/test_links.py",
    "tests/grafana/test_api.py",
    "tests/security/raw.py",
}
"""Files that read or name somebody else's fields, with their own spelling."""

modules = [
    pytest.param(part, path, id=str(path.relative_to(ROOT)))
    for part in PARTS
    for path in sorted(PARTS[part].rglob("*.py"))
]
services = [each for each in modules if each.values[0] in {"checkout", "payment", "doors"}]


def imported(path: Path) -> set[str]:
    """Full names of everything that a module imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide who is meant"
            names |= {f"{node.module}.{each.name}" for each in node.names}
    return names


def under(name: str, packages: set[str]) -> bool:
    """Whether ``name`` is one of ``packages`` or lies in one."""
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def under_any(names: set[str], packages: set[str]) -> bool:
    """Whether one of ``names`` is in one of ``packages``."""
    return any(under(name, packages) for name in names)


@pytest.mark.parametrize(("part", "path"), modules)
def test_imports_point_one_way(part: str, path: Path) -> None:
    """Services build on doors and telemetry, doors on telemetry, the page on the demo, that on backends, others on nothing."""
    ours = {name.partition(".")[0] for name in imported(path)} & set(PARTS)
    assert ours <= MAY_IMPORT[part]


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_of_the_demo_import_one_way(room: str) -> None:
    """The proof builds on customers, customers on the story of a request; how the stack runs builds on none of them."""
    for path in (ROOT / "demo" / room).glob("*.py"):
        entered = {
            name.split(".")[1]
            for name in imported(path)
            if under(name, {"demo"}) and name.count(".") > 1
        }
        assert entered & set(ROOMS) <= ROOMS[room], path


def test_the_page_enters_few_rooms_of_the_demo() -> None:
    """The page knows whom to ask, who buys, a request's story and who answers, and nothing of the proof or the launcher."""
    for path in (ROOT / "console").rglob("*.py"):
        assert not {
            name for name in imported(path) if under(name, {"demo"}) and not under(name, SHOWN)
        }, path


def test_questions_are_asked_in_the_words_of_the_house() -> None:
    """Outside ``demo/three_pillar_demo/query/``, only what follows Grafana's own links, or judges alerts, knows a query language."""
    asking = [*(ROOT / "demo").rglob("*.py"), *(ROOT / "console").rglob("*.py")]
    speak = {
        path for path in asking if under_any(imported(path), {"backends.apis", "backends.lgtm"})
    }
    assert {path.name for path in speak} == {
        "asking.py",
        "links.py",
        "verify.py",
        "alerts.py",
        "check.py",
    }


def test_no_module_under_agpl_is_fetched_or_built() -> None:
    """Tempo, Loki and Grafana are brought by a person or by Docker: no module of theirs is pinned here."""
    pinned = "\n".join(path.read_text() for path in (ROOT / "native").rglob("*") if path.is_file())
    assert not re.search(r"github\.com/grafana/(tempo|loki|grafana|k6)\b", pinned)


@pytest.mark.parametrize(("part", "path"), modules)
def test_only_telemetry_touches_the_sdk(part: str, path: Path) -> None:
    """A service speaks OpenTelemetry's API, embedded reads its wire format; SDK and instrumentations live in telemetry."""
    if part not in {"telemetry", "delivery"}:
        allowed = WIRE.get(part, API)
        foreign = {
            name for name in imported(path) if under(name, {"opentelemetry", "prometheus_client"})
        }
        assert not {name for name in foreign if not under(name, allowed)}


@pytest.mark.parametrize(("part", "path"), services)
def test_simulation_lives_in_one_file(part: str, path: Path) -> None:
    """Chance and pretended slowness are in the services' ``faults.py`` and nowhere else in them."""
    found = {
        name
        for name in imported(path)
        if under(name, {"random", "secrets", "asyncio.sleep", "time.sleep"})
    }
    found |= {
        ast.unparse(node)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "sleep"
    }
    assert bool(found) == (path.name == "faults.py"), f"{part}: {found}"


def our_sources() -> Iterator[Path]:
    """Every Python file that somebody here wrote."""
    for folder in {*PARTS} - {"checkout", "payment", "doors"} | {"services", "grafana", "tests"}:
        yield from (ROOT / folder).rglob("*.py")


def test_trace_id_has_one_spelling() -> None:
    """Our code says ``trace_id``; other spellings are only read where a foreign API's answer has them."""
    other = re.compile(r"(?i:trace)[I][dD]|TRACE[I]D")
    wrong = {
        str(path.relative_to(ROOT)) for path in our_sources() if other.search(path.read_text())
    }
    assert wrong <= FOREIGN_KEYS


def test_the_house_can_be_read_in_one_sitting() -> None:
    """Services stay under 600 lines, at most 80 of them for drills alone, telemetry under 450, and no module is over 200."""
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for folder in ("services", "telemetry", "guards", "delivery", "settings")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert max(lines.values()) <= 200, lines
    assert sum(lines[each] for each in DRILLED) <= 80
    assert sum(count for path, count in lines.items() if path.startswith("services/")) < 600
    assert sum(count for path, count in lines.items() if path.startswith("telemetry/")) < 450


@pytest.mark.parametrize(
    ("part", "longest"), [("embedded", 200), ("backends", 200), ("console", 200), ("demo", 250)]
)
def test_a_module_holds_one_thing(part: str, longest: int) -> None:
    """No module of the embedded store, of the questions and of the page is over 200 lines, and none of the demo over 250."""
    lines = {path.name: len(path.read_text().splitlines()) for path in (ROOT / part).rglob("*.py")}
    assert max(lines.values()) <= longest, lines


def test_the_page_is_small() -> None:
    """The page's Python, templates and style stay under 1,200 lines, its pager at most at 200, and its one script at 80."""
    lines = {
        path: len(path.read_text().splitlines())
        for path in (ROOT / "console").rglob("*.*")
        if path.suffix != ".pyc"
    }
    counted = {
        path: count for path, count in lines.items() if path.suffix in {".py", ".html", ".css"}
    }
    pager = sum(count for path, count in counted.items() if path.parent.name == "pager")
    assert pager <= 200
    assert sum(counted.values()) - pager < 1200
    assert {path.name: count <= 80 for path, count in lines.items() if path.suffix == ".js"} == {
        "page.js": True
    }


def test_every_test_says_what_it_proves() -> None:
    """Each test has a docstring of one sentence: the promise that breaks with it."""
    mute = []
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
                "test_"
            ):
                promise = ast.get_docstring(node) or ""
                if not re.fullmatch(r"[A-Z0-9`].+[.]", " ".join(promise.split())) or re.search(
                    r"[.!?]\s+[A-Z`]", promise
                ):
                    mute.append(f"{path.name}::{node.name}: {promise}")
    assert not mute
