"""Tests of which web pages may send to the local store: CORS headers and refused origins."""

from collections.abc import Mapping

import httpx2
import pytest
from starlette.testclient import TestClient

from tests.demo.local_store.messages import log_record, log_request, to_otlp_json
from tests.demo.local_store.stores import InMemoryStore
from three_pillar_demo.local_store.cors import parse_origins
from three_pillar_demo.local_store.intake import Intake
from three_pillar_demo.local_store.receiver import create_app

PAGE = "http://localhost:3000"
PREFLIGHT = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type,x-tenant,traceparent",
    "access-control-request-private-network": "true",
}
LOOPBACK_ORIGINS = [
    "http://localhost",
    "http://localhost:5173",
    "https://localhost:8443",
    "http://127.0.0.1:3000",
    "http://[::1]:3000",
    "http://shop.localhost:8080",
]
OTHER_ORIGINS = [
    "http://shop.test",
    "https://localhost.evil.test",
    "http://evil.test:3000",
    "http://127.0.0.1.evil.test",
    "http://evillocalhost",
    "http://localhost:3000.evil.test",
    "http://10.0.0.1",
    "null",
    "",
    "file://",
]
BODY = to_otlp_json(log_request(log_record("from a page")))


def request(
    in_memory_store: InMemoryStore,
    method: str,
    headers: Mapping[str, str],
    origins: str = "loopback",
    path: str = "/v1/logs",
) -> httpx2.Response:
    """Send a JSON request to a store with the setting ``origins``."""
    client = TestClient(create_app(Intake(in_memory_store.writer), origins))
    json_type = {"content-type": "application/json"}
    content = BODY if method == "POST" else b""
    return client.request(method, path, content=content, headers=json_type | dict(headers))


def cors_headers(response: httpx2.Response) -> set[str]:
    """Return the names of the CORS headers of a response."""
    return {name for name in response.headers if name.startswith("access-control-")}


def lines(in_memory_store: InMemoryStore) -> int:
    """Return the number of stored log records."""
    ((count,),) = in_memory_store.rows("SELECT count(*) FROM lines")
    return int(count)


@pytest.mark.parametrize("origin", LOOPBACK_ORIGINS)
def test_pages_of_this_machine_may_send(in_memory_store: InMemoryStore, origin: str) -> None:
    """By default, a page of any loopback origin gets the headers, and its records are stored."""
    response = request(in_memory_store, "POST", {"origin": origin})
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == origin
    assert response.headers["access-control-allow-credentials"] == "true"
    assert response.headers["access-control-expose-headers"] == "retry-after"
    assert response.headers["vary"] == "Origin"
    assert lines(in_memory_store) == 1


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
@pytest.mark.parametrize("origin", OTHER_ORIGINS)
def test_other_pages_are_refused(in_memory_store: InMemoryStore, origin: str, method: str) -> None:
    """A page of another origin gets 403 without CORS headers, and nothing of it is stored."""
    preflight = PREFLIGHT if method == "OPTIONS" else {}
    response = request(in_memory_store, method, {"origin": origin} | preflight)
    assert response.status_code == 403
    assert response.json()["message"] == (
        f"origin {origin} not allowed, add it to STORE_CORS_ORIGINS"
    )
    assert not cors_headers(response)
    assert response.headers["vary"] == "Origin"
    assert lines(in_memory_store) == 0


def test_a_page_with_a_name_of_its_own_is_refused(in_memory_store: InMemoryStore) -> None:
    """A page whose own name leads to this machine (DNS rebinding) is refused by its origin."""
    headers = {"host": "evil.test:4318", "origin": "http://evil.test:4318"}
    assert request(in_memory_store, "POST", headers).status_code == 403
    assert lines(in_memory_store) == 0


def test_a_client_without_an_origin_may_use_any_name(in_memory_store: InMemoryStore) -> None:
    """A client that is no page is served by every name of the store, without CORS headers."""
    response = request(in_memory_store, "POST", {"host": "store:4318"})
    assert (response.status_code, cors_headers(response)) == (200, set())


def test_a_preflight_request_is_answered(in_memory_store: InMemoryStore) -> None:
    """A preflight request gets the methods, the headers that it asks for, and how long it holds."""
    response = request(in_memory_store, "OPTIONS", {"origin": PAGE} | PREFLIGHT)
    assert response.status_code == 204
    assert {name: response.headers[name] for name in cors_headers(response)} == {
        "access-control-allow-origin": PAGE,
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": "content-type,x-tenant,traceparent",
        "access-control-allow-private-network": "true",
        "access-control-max-age": "7200",
    }
    assert response.headers["vary"].split(", ") == [
        "Origin",
        "Access-Control-Request-Method",
        "Access-Control-Request-Headers",
        "Access-Control-Request-Private-Network",
    ]


def test_private_network_access_is_allowed_only_when_asked(in_memory_store: InMemoryStore) -> None:
    """A preflight request that asks for nothing gets the usual headers and no private network."""
    headers = {"origin": PAGE, "access-control-request-method": "POST"}
    response = request(in_memory_store, "OPTIONS", headers)
    assert "access-control-allow-private-network" not in response.headers
    assert "content-encoding" in response.headers["access-control-allow-headers"]


def test_an_ordinary_options_request_is_no_preflight(in_memory_store: InMemoryStore) -> None:
    """OPTIONS without the question of a preflight request gets 405, with CORS headers."""
    response = request(in_memory_store, "OPTIONS", {"origin": PAGE})
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.headers["access-control-allow-origin"] == PAGE


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({"content-type": "text/plain"}, "/v1/logs", 415),
        ({"content-encoding": "br"}, "/v1/logs", 415),
        ({"content-encoding": "gzip"}, "/v1/logs", 400),
        ({}, "/v1/profiles", 404),
        ({}, "/nowhere", 404),
    ],
)
def test_a_page_can_read_why_it_is_refused(
    in_memory_store: InMemoryStore, headers: dict[str, str], path: str, status: int
) -> None:
    """Error responses have the CORS headers too, without which a page would see no reason."""
    response = request(in_memory_store, "POST", {"origin": PAGE} | headers, path=path)
    assert response.status_code == status
    assert response.headers["access-control-allow-origin"] == PAGE


@pytest.mark.parametrize(
    ("setting", "origin", "status"),
    [
        ("https://shop.test:8443", "https://shop.test:8443", 200),
        ("https://Shop.test:8443/", "https://shop.test:8443", 200),
        ("https://shop.test:8443", "https://shop.test", 403),
        ("https://shop.test:8443", PAGE, 403),
        ("loopback, https://shop.test", PAGE, 200),
        ("loopback, https://shop.test", "https://shop.test", 200),
        ("*", "https://shop.test", 200),
        ("*", "null", 200),
        ("none", PAGE, 403),
    ],
)
def test_the_setting_names_the_pages(
    in_memory_store: InMemoryStore, setting: str, origin: str, status: int
) -> None:
    """Exactly the origins that the setting names may send."""
    response = request(in_memory_store, "POST", {"origin": origin}, setting)
    assert response.status_code == status
    assert lines(in_memory_store) == (status == 200)


@pytest.mark.parametrize(
    "setting", ["shop.test", "http://a/b", "http://", "http://a b", "none, *", "http://*.test"]
)
def test_what_is_no_origin_is_refused(setting: str) -> None:
    """A setting with anything but origins and the three words is refused."""
    with pytest.raises(ValueError, match="origin"):
        parse_origins(setting)
