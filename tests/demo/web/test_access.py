"""Tests for the access control of the page and its security headers."""

import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import HOST

OWN_ORIGIN = f"http://{HOST}"
CROSS_SITE_LINK = {
    "sec-fetch-site": "cross-site",
    "sec-fetch-mode": "navigate",
    "sec-fetch-dest": "document",
}


@pytest.mark.parametrize(
    "host",
    ["evil.test", "evil.test:8080", "127.0.0.1", "127.0.0.1:80", "localhost.evil.test:8080", ""],
)
@pytest.mark.parametrize("path", ["/", "/healthz", "/static/page.js", "/trace/" + "a" * 32])
def test_unknown_host_is_refused(page: TestClient, host: str, path: str) -> None:
    """A request with a foreign Host header (DNS rebinding) is answered with 421."""
    response = page.get(path, headers={"host": host})
    assert (response.status_code, "Host" in response.text) == (421, True)


@pytest.mark.parametrize(
    "host", ["inside:8080", "inside:8080/alerts", "inside:8080/", "inside:8080/alerts/"]
)
def test_host_for_one_path_is_accepted_for_that_path_only(page: TestClient, host: str) -> None:
    """A host that is listed with the path of the alerts may be used for nothing else."""
    response = page.post("/alerts", json={"alerts": []}, headers={"host": host})
    assert response.status_code == (204 if host == "inside:8080" else 421)
    for method, path in (
        ("GET", "/"),
        ("POST", "/buy"),
        ("POST", "/drill"),
        ("GET", "/healthz"),
        ("POST", "/alerts/"),
    ):
        assert page.request(method, path, headers={"host": host}).status_code == 421
    for origin, status in (("http://inside:8080", 204), ("http://evil.test", 403)):
        headers = {"host": "inside:8080", "origin": origin}
        response = page.post("/alerts", json={"alerts": []}, headers=headers)
        assert response.status_code == status


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.test"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:3000"},
        {"origin": f"https://{HOST}"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        CROSS_SITE_LINK,
    ],
)
@pytest.mark.parametrize("path", ["/buy", "/stream"])
def test_another_origin_cannot_send_purchases(
    page: TestClient, path: str, headers: dict[str, str]
) -> None:
    """A form or script of another origin is refused, and no purchase is sent."""
    response = page.post(path, data={"card": "ordinary", "rate": "5"}, headers=headers)
    assert response.status_code == 403
    assert "Newest checkout" not in page.get("/").text


@pytest.mark.parametrize("destination", ["image", "script", "iframe", "empty"])
def test_another_site_cannot_embed_the_page(page: TestClient, destination: str) -> None:
    """Another site may not load the page as an image, a script, a frame or data."""
    headers = {
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "navigate" if destination == "iframe" else "no-cors",
        "sec-fetch-dest": destination,
    }
    assert page.get("/", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"},
        {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "origin": OWN_ORIGIN},
        CROSS_SITE_LINK,
    ],
)
def test_visitor_is_let_in(page: TestClient, headers: dict[str, str]) -> None:
    """A typed address, the page's own script, a link from elsewhere and curl are let in."""
    assert page.get("/", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/?minutes=7", "/nowhere", "/static/page.js", "/trace/" + "a" * 32]
)
def test_every_response_has_security_headers(page: TestClient, path: str) -> None:
    """Every response forbids foreign and inline code, framing, type sniffing and caching."""
    headers = page.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")


def test_markup_has_no_inline_code_and_no_foreign_addresses(page: TestClient) -> None:
    """The markup has no inline style or script, and loads nothing from another site."""
    for path in ("/", "/?tour=0", "/trace/" + "a" * 32):
        text = page.get(path).text
        assert " style=" not in text
        assert "<style" not in text
        assert "onclick" not in text
        assert text.count("<script") == text.count('<script src="/static/page.js"') == 1
        assert "https://" not in text


@pytest.mark.parametrize(
    ("host", "headers", "status"),
    [
        ("page.test", {"origin": "https://page.test", "sec-fetch-site": "same-origin"}, 303),
        ("page.test", {"origin": "https://page.test"}, 303),
        ("page.test", {"origin": "HTTPS://Page.Test"}, 303),
        ("page.test", {"origin": "http://page.test"}, 303),
        ("page.test", {"origin": "http://page.test", "sec-fetch-site": "cross-site"}, 403),
        ("page.test", {"origin": "https://page.test", "sec-fetch-site": "same-site"}, 403),
        ("page.test", {"origin": "https://page.test:8443"}, 403),
        ("page.test", {"origin": "https://evil.test"}, 403),
        ("page.test", {"origin": "https://page.test.evil.test"}, 403),
        ("page.test", {"origin": "https://inside:8080"}, 403),
        (HOST, {"origin": "https://page.test"}, 403),
        (HOST, {"origin": f"https://{HOST}", "sec-fetch-site": "same-origin"}, 403),
        ("https://page.test", {"origin": "https://page.test"}, 421),
    ],
)
def test_forms_work_behind_tls_under_a_listed_name(
    page: TestClient, host: str, headers: dict[str, str], status: int
) -> None:
    """A listed name may be that of a proxy with TLS; every other origin is refused as before."""
    response = page.post("/buy", data={"card": "ordinary"}, headers={"host": host, **headers})
    assert response.status_code == status


@pytest.mark.parametrize("origin", ["https://inside:8080", "https://inside:8080/alerts"])
def test_a_name_for_one_path_is_not_extended_to_tls(page: TestClient, origin: str) -> None:
    """The name under which only alerts are accepted has no origin with TLS."""
    headers = {"host": "inside:8080", "origin": origin}
    assert page.post("/alerts", json={"alerts": []}, headers=headers).status_code == 403
