"""The layout of the repository: permitted imports, and where certain code and names may occur."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.conftest import LONGEST

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "telemetry" / "three_pillars"
DEMO = ROOT / "demo" / "three_pillar_demo"
SERVICES = ROOT / "services"
MAX_ROOT_ENTRIES = 25

MAY_IMPORT: dict[str, set[str]] = {
    "three_pillars": set(),
    "services.common": {"three_pillars"},
    "services.payment": {"services.common", "three_pillars"},
    "services.checkout": {"services.common", "three_pillars"},
    "three_pillar_demo.paths": set(),
    "three_pillar_demo.terminal": set(),
    "three_pillar_demo.sampling_settings": {"three_pillars"},
    "three_pillar_demo.capacity": set(),
    "three_pillar_demo.stack": {"three_pillar_demo.paths"},
    "three_pillar_demo.query": {"three_pillar_demo.paths", "three_pillar_demo.stack"},
    "three_pillar_demo.run_program": {"three_pillar_demo.stack", "three_pillar_demo.terminal"},
    "three_pillar_demo.local_store": {"three_pillars"},
    "three_pillar_demo.trace_view": {"three_pillar_demo.query", "three_pillar_demo.terminal"},
    "three_pillar_demo.load": {"three_pillar_demo.stack", "three_pillar_demo.terminal"},
    "three_pillar_demo.verify": {
        "three_pillar_demo.load",
        "three_pillar_demo.paths",
        "three_pillar_demo.query",
        "three_pillar_demo.sampling_settings",
        "three_pillar_demo.stack",
        "three_pillar_demo.trace_view",
        "three_pillars",
    },
    "three_pillar_demo.drills": {
        "three_pillar_demo.load",
        "three_pillar_demo.paths",
        "three_pillar_demo.query",
        "three_pillar_demo.stack",
    },
    "three_pillar_demo.chaos": {
        "three_pillar_demo.load",
        "three_pillar_demo.paths",
        "three_pillar_demo.query",
        "three_pillar_demo.stack",
        "three_pillar_demo.terminal",
        "three_pillar_demo.verify",
    },
    "three_pillar_demo.web": {
        "three_pillar_demo.drills",
        "three_pillar_demo.load",
        "three_pillar_demo.paths",
        "three_pillar_demo.query",
        "three_pillar_demo.sampling_settings",
        "three_pillar_demo.stack",
        "three_pillar_demo.terminal",
        "three_pillar_demo.trace_view",
        "three_pillars",
    },
    "three_pillar_demo.share": {
        "three_pillar_demo.query",
        "three_pillar_demo.stack",
        "three_pillar_demo.terminal",
        "three_pillar_demo.trace_view",
        "three_pillar_demo.web",
    },
    "three_pillar_demo.kubernetes": {"three_pillar_demo.paths", "three_pillar_demo.stack"},
    "three_pillar_demo.tail": {
        "three_pillar_demo.query",
        "three_pillar_demo.terminal",
        "three_pillar_demo.trace_view",
    },
}
"""The parts of the project, and the other parts that each of them may import.

The command itself (``__main__``, ``command_app``, ``tour`` and the modules ``..._commands``) may
import every part of the demo. CONTRIBUTING.md prints this table; a test compares the two.
"""

WEB_MAY_IMPORT = {
    "three_pillar_demo.drills": {
        "answer_choices",
        "answers",
        "catalogue",
        "choice",
        "launch",
        "session",
        "verdict",
    },
    "three_pillar_demo.stack": {"health", "plain_http", "ports"},
}
"""The modules that the web UI may import from parts that mainly serve the command line."""

OPENTELEMETRY_API = {
    "opentelemetry.trace",
    "opentelemetry.metrics",
    "opentelemetry.context",
    "opentelemetry.propagate",
    "opentelemetry.baggage",
}
ALLOWED_OPENTELEMETRY_IMPORTS = {
    "services.checkout": OPENTELEMETRY_API,
    "services.payment": OPENTELEMETRY_API,
    "services.common": OPENTELEMETRY_API,
    "three_pillar_demo.local_store": {"opentelemetry.proto"},
}
"""The OpenTelemetry packages that each part may import; the library may import all, every other
part none."""

QUERY_LANGUAGE_MODULES = {
    "query/connect.py",
    "query/lgtm.py",
    "query/http_clients.py",
    "query/lgtm_instruments.py",
    "verify/link_check.py",
    "verify/verify.py",
    "drills/alerts.py",
    "drills/check.py",
}
"""The modules of the demo that may import the clients of Tempo, Loki and Prometheus."""

OTHER_SPELLINGS = {
    "demo/three_pillar_demo/query/http_clients.py",
    "demo/three_pillar_demo/query/lgtm.py",
    "demo/three_pillar_demo/query/lgtm_arrivals.py",
    "demo/three_pillar_demo/query/lgtm_peers.py",
    "demo/three_pillar_demo/query/lgtm_requests.py",
    "demo/three_pillar_demo/query/otlp_json.py",
    "demo/three_pillar_demo/share/records.py",
    "demo/three_pillar_demo/trace_view/otlp_export.py",
    "demo/three_pillar_demo/verify/link_check.py",
    "grafana/checkout.py",
    "tests/demo/query/test_lgtm.py",
    "tests/demo/query/test_lgtm_arrivals.py",
    "tests/demo/query/test_lgtm_peers.py",
    "tests/demo/query/test_lgtm_requests.py",
    "tests/demo/query/test_lgtm_services.py",
    "tests/demo/query/test_lgtm_service_map.py",
    "tests/demo/local_store/test_invalid_records.py",
    "tests/demo/query/test_otlp_json.py",
    "tests/demo/share/otlp_files.py",
    "tests/demo/share/test_import.py",
    "tests/demo/trace_view/test_otlp_export.py",
    "tests/dashboards.py",
    "tests/end_to_end/test_links.py",
    "tests/grafana/test_api.py",
    "tests/security/unredacted_otlp.py",
}
"""Files that may spell the trace id differently, as they use field names of Tempo, Loki, OTLP or
Grafana."""


def part_of(path: Path) -> str:
    """Return the key of ``MAY_IMPORT`` for the file ``path``; empty if it belongs to no part."""
    if path.is_relative_to(LIBRARY):
        return "three_pillars"
    for base, folder in (("services", SERVICES), ("three_pillar_demo", DEMO)):
        if path.is_relative_to(folder):
            part = f"{base}.{path.relative_to(folder).parts[0].removesuffix('.py')}"
            return part if part in MAY_IMPORT else ""
    return ""


def sources() -> Iterator[Path]:
    """Yield the path of every Python file of the library, the services and the demo."""
    for folder in (LIBRARY, SERVICES, DEMO):
        yield from sorted(folder.rglob("*.py"))


MODULES = [(part_of(path), path) for path in sources() if part_of(path)]
"""Every module that belongs to a part, after the name of the part."""


@cache
def imported(path: Path) -> frozenset[str]:
    """Return the full names of everything that the module at ``path`` imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # A relative import, which only the library uses, cannot leave the package.
            module = node.module if node.level == 0 else f"three_pillars.{node.module or ''}"
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def is_under(name: str, packages: set[str]) -> bool:
    """Return whether ``name`` is one of ``packages`` or is inside one of them."""
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def not_allowed(path: Path, packages: set[str], allowed: set[str]) -> list[str]:
    """Return what a module imports of ``packages`` and not of ``allowed``, after its path."""
    return [
        f"{path.relative_to(ROOT)}: {name}"
        for name in sorted(imported(path))
        if is_under(name, packages) and not is_under(name, allowed)
    ]


def test_imports_follow_the_table() -> None:
    """A module imports only the parts that ``MAY_IMPORT`` lists for its own part."""
    own_packages = {"three_pillars", "three_pillar_demo", "services"}
    found = [
        text
        for part, path in MODULES
        for text in not_allowed(path, own_packages, MAY_IMPORT[part] | {part})
    ]
    assert found == []


def test_every_folder_is_in_the_table() -> None:
    """Each folder of the services and the demo has an entry in ``MAY_IMPORT``."""
    folders = {
        f"{base}.{path.name}"
        for base, folder in (("services", SERVICES), ("three_pillar_demo", DEMO))
        for path in folder.iterdir()
        if path.is_dir() and path.name != "__pycache__"
    }
    assert folders <= MAY_IMPORT.keys()


def test_the_table_has_no_cycle() -> None:
    """No part in ``MAY_IMPORT`` may import itself by way of other parts."""
    remaining = dict(MAY_IMPORT)
    while remaining:
        leaves = {part for part, imports in remaining.items() if not imports & remaining.keys()}
        assert leaves, f"an import cycle among {sorted(remaining)}"
        for part in leaves:
            del remaining[part]


def test_the_web_ui_imports_few_modules_of_the_command() -> None:
    """From drills and launcher, the web UI imports only the modules in ``WEB_MAY_IMPORT``."""
    for path in sorted((DEMO / "web").rglob("*.py")):
        for part, allowed in WEB_MAY_IMPORT.items():
            names = {name for name in imported(path) if is_under(name, {part})}
            modules_of_part = {f"{part}.{module}" for module in allowed}
            assert not {name for name in names if not is_under(name, modules_of_part)}, path


def test_few_modules_know_a_query_language() -> None:
    """Only ``QUERY_LANGUAGE_MODULES`` import the clients of Tempo, Loki and Prometheus."""
    clients = {"three_pillar_demo.query.http_clients", "three_pillar_demo.query.lgtm"}
    users = {
        str(path.relative_to(DEMO))
        for path in sorted(DEMO.rglob("*.py"))
        if any(is_under(name, clients) for name in imported(path))
    }
    assert users <= QUERY_LANGUAGE_MODULES


def test_the_longest_tests_exist() -> None:
    """Every file in the order of the tests exists, so that a renamed file is noticed."""
    assert [name for name in LONGEST if not (ROOT / "tests" / name).is_file()] == []


def test_only_cases_of_a_test_are_long() -> None:
    """The marker ``long`` marks cases of tests, so that `make test` has a shorter case of each."""
    mark = "pytest.mark." + "long"
    lines = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for line in path.read_text().splitlines()
        if mark in line
    ]
    assert lines
    assert [line for line in lines if f"marks={mark}" not in line] == []


def test_no_module_under_agpl_is_fetched_or_built() -> None:
    """No Go module of Tempo, Loki, Grafana or k6 (AGPL) is fetched or built by this project."""
    files = [path for path in (ROOT / "native").rglob("*") if path.is_file()]
    pinned = "\n".join(path.read_text() for path in files if path.suffix != ".pyc")
    assert not re.search(r"github\.com/grafana/(tempo|loki|grafana|k6)\b", pinned)


def test_only_the_library_uses_the_sdk() -> None:
    """Parts other than the library import only what ``ALLOWED_OPENTELEMETRY_IMPORTS`` lists."""
    sdk = {"opentelemetry", "prometheus_client"}
    found = [
        text
        for part, path in MODULES
        if part != "three_pillars"
        for text in not_allowed(path, sdk, ALLOWED_OPENTELEMETRY_IMPORTS.get(part, set()))
    ]
    assert found == []


def simulation_names(path: Path) -> set[str]:
    """Return the names of random numbers and of sleeping that a module uses."""
    names = {
        name
        for name in imported(path)
        if is_under(name, {"random", "secrets", "asyncio.sleep", "time.sleep"})
    }
    names |= {
        ast.unparse(node)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "sleep"
    }
    return names


def test_simulation_lives_in_the_fault_modules() -> None:
    """The services use random numbers and sleeping in their ``faults.py``, and only there."""
    services = [path for part, path in MODULES if part.startswith("services.")]
    simulating = {path for path in services if simulation_names(path)}
    assert simulating == {path for path in services if path.name == "faults.py"}


def test_trace_id_has_one_spelling() -> None:
    """The name ``trace_id`` is spelled this way everywhere but in ``OTHER_SPELLINGS``."""
    other_spelling = re.compile(r"(?i:trace)[I][dD]|TRACE[I]D")
    files = [*sources(), *(ROOT / "grafana").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    files_with_other_spelling = {
        str(path.relative_to(ROOT)) for path in files if other_spelling.search(path.read_text())
    }
    assert files_with_other_spelling <= OTHER_SPELLINGS


def test_the_root_folder_stays_small() -> None:
    """The root folder of the repository has at most 25 tracked files and folders."""
    command = ["git", "ls-files"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    entries = {line.partition("/")[0] for line in listed.stdout.splitlines()}
    assert len(entries) <= MAX_ROOT_ENTRIES, sorted(entries)


def test_every_test_says_what_it_proves() -> None:
    """Each test has a docstring of one sentence, which says what the test proves."""
    undocumented_tests = []
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if not node.name.startswith("test_"):
                continue
            docstring = " ".join((ast.get_docstring(node) or "").split())
            one_sentence = re.fullmatch(r"[A-Z0-9`].+[.]", docstring)
            if not one_sentence or re.search(r"[.!?]\s+[A-Z`]", docstring):
                undocumented_tests.append(f"{path.name}::{node.name}: {docstring}")
    assert not undocumented_tests
