"""Tests of every view in a real browser, with a store full of hostile telemetry, or empty."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser

from tests.demo.local_store.stores import running_store
from tests.demo.web.browser import CHROMIUM, REQUIRED, WHY_NOT
from tests.demo.web.hostile_telemetry import (
    BLANK,
    CIRCLE_TRACE,
    COMPARED_TRACE,
    DEEP_TRACE,
    FIRST_TRACE,
    HTML,
    LARGE_ATTRIBUTES,
    LARGE_TRACE,
    LONGEST_NAME,
    NAMES,
    hostile_requests,
)
from tests.demo.web.page_checks import problems_of
from tests.demo.web.visits import Visit, served, visiting
from three_pillar_demo.drills import session
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.stack import state

pytestmark = pytest.mark.skipif(not CHROMIUM and not REQUIRED, reason=WHY_NOT)


def path_of_trace(number: int) -> str:
    """Return the address of the trace with a number."""
    return f"/trace/{number:032x}"


def path_of_request(name: str) -> str:
    """Return the address of the trace of the request to the service ``name``."""
    return path_of_trace(FIRST_TRACE + NAMES.index(name))


VIEWS = {
    "overview": ("/?tour=3", "GET /compared"),
    "overview, filtered": (f"/?tour=0&service={quote(HTML)}&search=circle", "circle"),
    "services": ("/services", "svc-010"),
    "services, none found": ("/services?find=nothing+is+so", "No service has such a name"),
    "service": (f"/service?service={quote(HTML)}", HTML),
    "service, blank": (f"/service?service={quote(BLANK)}", "http.server.request.duration"),
    "logs": ("/logs", "java.lang.Error: no stock"),
    "logs, none found": ("/logs?text=nothing+says+so", "No matching log records"),
    "metrics": ("/metrics", HTML),
    "metric": (f"/metrics?metric={quote(HTML)}", "gauge, in"),
    "metric by label": (
        "/metrics?metric=http.server.request.duration&by=http_route",
        "Sum of 16 series, by http_route",
    ),
    "trace, long names": (path_of_request(LONGEST_NAME), "500 because"),
    "trace, blank names": (path_of_request(BLANK), "500 because"),
    "trace, adjusted": (f"{path_of_request(HTML)}?adjust=1", "The times below are adjusted"),
    "trace, deep": (path_of_trace(DEEP_TRACE), "depth 19"),
    "trace, collapsed": (f"{path_of_trace(DEEP_TRACE)}?fold=all", "rows collapsed"),
    "trace, circle": (path_of_trace(CIRCLE_TRACE), "3 spans"),
    "trace, large": (path_of_trace(LARGE_TRACE), f"{LARGE_ATTRIBUTES - 40} more attributes"),
    "trace, compared": (path_of_trace(COMPARED_TRACE), "14 of 14"),
    "trace, unknown": (f"/trace/{'f' * 32}", "has not arrived yet"),
    "runbook": ("/runbook", "PaymentUnreachable"),
    "status": ("/status", "Status"),
    "not found": ("/nowhere", "Not found"),
    "invalid": ("/?minutes=7", "minutes must be 5, 15 or 60"),
}
"""The address of each view, and a text that it shows, by what it is."""
SHORT = (
    "overview",
    "logs",
    "trace, long names",
    "trace, large",
)
"""The views that ``make test`` looks at; ``make test-long`` looks at all."""


def stored_in(folder: Path) -> LocalBackends:
    """Return the backends that read the store in ``folder``."""
    return LocalBackends(folder / "telemetry.db")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a running store, which has hostile telemetry."""
    folder = tmp_path_factory.mktemp("hostile")
    with running_store(folder / "telemetry.db") as store:
        for signal_name, request in hostile_requests(time.time_ns()).items():
            answer = store.send(signal_name, request)
            assert (answer.status_code, answer.content) == (200, b"")
        yield folder


@pytest.fixture(scope="module")
def visit(browser: Browser, folder: Path) -> Iterator[Visit]:
    """A page that opens views of hostile telemetry, during a hostile alert and a drill."""
    now = time.time()
    labels = {"alertname": HTML, "severity": LONGEST_NAME}
    alert = {"status": "firing", "labels": labels, "annotations": {"summary": HTML * 9}}
    with served(stored_in(folder), folder, "local") as client, visiting(browser, client) as visit:
        runner = state.current_process()
        session.save(session.DrillSession("slow-bank", runner, now - 90, paged_at=now - 65))
        assert client.post("/alerts", json={"alerts": [alert]}).status_code == 204
        yield visit


@pytest.mark.parametrize(
    "view",
    [*SHORT, *(pytest.param(view, marks=pytest.mark.long) for view in VIEWS if view not in SHORT)],
)
def test_every_view_of_hostile_telemetry(visit: Visit, view: str) -> None:
    """Every view is accessible, fits the window, and takes the HTML of a sender for text."""
    path, text = VIEWS[view]
    assert visit.problems(path) == []
    assert visit.page.locator("main", has_text=text).count() == 1, f"without {text}"
    assert visit.page.locator("main :is(script, img)").count() == 0


def test_a_hostile_log_record(visit: Visit) -> None:
    """The page of a log record with attributes of every type passes the same checks."""
    found = visit.client.get("/logs?service=main&text=no+stock").text
    [path] = re.findall(r'data-content="(/logs/[^"]+)"', found)
    assert visit.problems(path) == []


def test_the_file_of_a_hostile_request(browser: Browser, visit: Visit, tmp_path: Path) -> None:
    """The HTML file of a request with hostile names passes the same checks."""
    file = tmp_path / "request.html"
    file.write_bytes(visit.client.get(f"{path_of_request(HTML)}/request.html").content)
    # The policy of the file would stop the script of axe as well.
    page = browser.new_page(bypass_csp=True, reduced_motion="reduce")
    page.goto(file.as_uri())
    assert problems_of(page) == []
    page.close()


def test_the_viewer_of_hostile_telemetry(browser: Browser, folder: Path) -> None:
    """In the mode without a shop the start page passes the same checks."""
    with served(stored_in(folder), folder, "view") as client, visiting(browser, client) as visit:
        assert visit.problems("/") == []


EMPTY_VIEWS = (
    ("local", "/?tour=1"),
    ("local", "/services"),
    ("local", "/logs"),
    ("local", "/metrics"),
    ("local", "/service?service=none"),
    ("view", "/"),
)
"""The mode and address of each view that is looked at before anything has arrived."""
SHORT_EMPTY_VIEWS = (EMPTY_VIEWS[0], EMPTY_VIEWS[-1])
"""Those that ``make test`` looks at; ``make test-long`` looks at all."""


@pytest.mark.parametrize(
    ("mode", "path"),
    [
        *SHORT_EMPTY_VIEWS,
        *(
            pytest.param(*view, marks=pytest.mark.long)
            for view in EMPTY_VIEWS
            if view not in SHORT_EMPTY_VIEWS
        ),
    ],
)
def test_every_view_of_an_empty_store(
    browser: Browser, tmp_path: Path, mode: str, path: str
) -> None:
    """Before anything has arrived every view passes the same checks, with a shop and without."""
    with (
        running_store(tmp_path / "telemetry.db"),
        served(stored_in(tmp_path), tmp_path, mode) as client,
        visiting(browser, client) as visit,
    ):
        assert visit.problems(path) == []
