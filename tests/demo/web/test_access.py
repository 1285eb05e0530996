"""Whom the page lets in, and what it says to the browser about itself."""

import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import HOST

OURS = f"http://{HOST}"


@pytest.mark.parametrize(
    "host",
    ["evil.test", "evil.test:8080", "127.0.0.1", "127.0.0.1:80", "localhost.evil.test:8080", ""],
)
@pytest.mark.parametrize("path", ["/", "/healthz", "/static/page.js", "/trace/" + "a" * 32])
def test_a_foreign_name_is_refused(page: TestClient, host: str, path: str) -> None:
    """Whoever made a name of theirs lead here (DNS rebinding) reads nothing."""
    answer = page.get(path, headers={"host": host})
    assert (answer.status_code, "Host" in answer.text) == (421, True)


@pytest.mark.parametrize(
    "host", ["inside:8080", "inside:8080/alerts", "inside:8080/", "inside:8080/alerts/"]
)
def test_a_name_for_one_path_is_good_for_that_alone(page: TestClient, host: str) -> None:
    """By the name that it has for alerts the page takes alerts, and is refused for anything else, however that is spelled."""
    taken = page.post("/alerts", json={"alerts": []}, headers={"host": host})
    assert taken.status_code == (204 if host == "inside:8080" else 421)
    for method, path in (
        ("GET", "/"),
        ("POST", "/buy"),
        ("POST", "/drill"),
        ("GET", "/healthz"),
        ("POST", "/alerts/"),
    ):
        assert page.request(method, path, headers={"host": host}).status_code == 421
    answer = page.post(
        "/alerts",
        json={"alerts": []},
        headers={"host": "inside:8080", "origin": "http://inside:8080"},
    )
    assert answer.status_code == 204
    answer = page.post(
        "/alerts",
        json={"alerts": []},
        headers={"host": "inside:8080", "origin": "http://evil.test"},
    )
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.test"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:3000"},
        {"origin": f"https://{HOST}"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {
            "sec-fetch-site": "cross-site",
            "sec-fetch-mode": "navigate",
            "sec-fetch-dest": "document",
        },
    ],
)
@pytest.mark.parametrize("path", ["/buy", "/stream"])
def test_a_foreign_page_buys_nothing(page: TestClient, path: str, headers: dict[str, str]) -> None:
    """A form or script of another page, on another port too, is refused, and no purchase is made."""
    answer = page.post(path, data={"card": "ordinary", "rate": "5"}, headers=headers)
    assert answer.status_code == 403
    assert "Nobody has bought" in page.get("/").text


@pytest.mark.parametrize("dest", ["image", "script", "iframe", "empty"])
def test_a_foreign_page_may_not_look(page: TestClient, dest: str) -> None:
    """Another site may not take the page in as an image, a script, a frame or data."""
    mode = "navigate" if dest == "iframe" else "no-cors"
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": mode, "sec-fetch-dest": dest}
    assert page.get("/", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"},
        {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "origin": OURS},
        {
            "sec-fetch-site": "cross-site",
            "sec-fetch-mode": "navigate",
            "sec-fetch-dest": "document",
        },
    ],
)
def test_a_visitor_comes_in(page: TestClient, headers: dict[str, str]) -> None:
    """By typing, by the page's own script, by a link that somebody sent, or with curl."""
    assert page.get("/", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/?minutes=7", "/nowhere", "/static/page.js", "/trace/" + "a" * 32]
)
def test_only_our_own_code_runs(page: TestClient, path: str) -> None:
    """Every answer forbids foreign and inline code, framing, guessing of types and keeping."""
    headers = page.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")


def test_nothing_is_inline_and_nothing_comes_from_elsewhere(page: TestClient) -> None:
    """The markup has no style and no script of its own, and no address but the page's."""
    for path in ("/", "/?tour=0", "/trace/" + "a" * 32):
        text = page.get(path).text
        assert " style=" not in text
        assert "<style" not in text
        assert "onclick" not in text
        assert text.count("<script") == text.count('<script src="/static/page.js"') == 1
        assert "https://" not in text
