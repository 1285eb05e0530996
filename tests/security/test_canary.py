"""Fake secrets sent to every input of a running stack do not appear in any store or log."""

import asyncio
import json
import secrets
import time
from collections.abc import Iterator
from urllib.parse import quote

import httpx2
import pytest

from tests.end_to_end.conftest import FULL, Stack, receiver_url, wait_until
from tests.security.canaries import Canaries
from tests.security.leaky_process import run_leaky_service
from tests.security.unredacted_otlp import otlp_requests
from three_pillar_demo.stack import ports

pytestmark = pytest.mark.stack
CHECKOUT = ports.CHECKOUT.url
PAYMENT = ports.PAYMENT.url
OTLP = receiver_url()
TEMPO = ports.TEMPO.url
LOKI = ports.LOKI.url
PROMETHEUS = ports.PROMETHEUS.url
SERVICES = ("checkout", "payment", "leaky", "outspoken", "unknown_service")
HOUR_S = 3600
MAX_LOGS = 5000
ARRIVAL_TIMEOUT_S = 240


def send_everywhere(
    http: httpx2.Client, base_url: str, canaries: Canaries
) -> Iterator[httpx2.Response]:
    """Send each canary, and all of them in one text, to every kind of input of a service.

    Inputs are body, query, path, parameter and field names, and headers. Yields the responses.
    """
    for text in (*canaries.shown.values(), canaries.sentence):
        encoded = quote(text)
        headers = {
            "user-agent": text,
            "x-note": text,
            "cookie": f"session={encoded}",
            "baggage": f"note={encoded}",
            "referer": text,
            "traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
            "tracestate": "shop=1",
            "authorization": canaries.shown["bearer"],
        }
        order = {text: text, "card": text, "order_id": text, "password": text}
        for path in ("/checkout", "/charges", f"/echo/{encoded}", f"/{encoded}"):
            url = base_url + path
            yield http.post(f"{url}?note={encoded}&{encoded}=1", content=text, headers=headers)
            yield http.get(f"{url}?note={text}", headers=headers)
            yield http.post(url, json=order, headers=headers)
        yield http.post(f"{base_url}/checkout", headers={"host": encoded})


def buy(http: httpx2.Client, canaries: Canaries) -> Iterator[httpx2.Response]:
    """Send purchases with a card number as the card, as the order id and as both.

    The last purchase has a clean order id and amount, which must be kept. Yields the responses.
    """
    card = canaries.shown["card"]
    for order in ({"card": card}, {"order_id": card}, {"card": card, "order_id": card}):
        yield http.post(f"{CHECKOUT}/checkout", json=order)
        charge = {"order_id": "o", "amount": "1", "currency": "EUR", "card": "crash"} | order
        yield http.post(f"{PAYMENT}/charges", json=charge)
    item = {"sku": "tea", "quantity": 1, "unit_price": canaries.clean["amount"]}
    yield http.post(
        f"{CHECKOUT}/checkout",
        json={"order_id": canaries.clean["order"], "items": [item], "card": "declined"},
    )


def send_by_otlp(http: httpx2.Client, canaries: Canaries) -> None:
    """Send the canaries to the Collector directly, like a service that does not redact."""
    texts = [*canaries.shown.values(), canaries.sentence]
    for path, request in otlp_requests(canaries, texts).items():
        assert http.post(OTLP + path, json=request).is_success


def stored(stack: Stack, http: httpx2.Client, trace_ids: set[str]) -> bytes:
    """Return everything that is stored: all files of the stack, and the content of the backends."""
    contents = [path.read_bytes() for path in sorted(stack.state.rglob("*")) if path.is_file()]
    if FULL:
        contents += full_backend_contents(http, trace_ids)
    else:
        queried = asyncio.run(query_interface_contents(stack, trace_ids))
        contents.append(json.dumps(queried, default=str).encode())
    return b"\n".join(contents)


def full_backend_contents(http: httpx2.Client, trace_ids: set[str]) -> list[bytes]:
    """Return the answers of Tempo, Loki and Prometheus to queries for all their data."""
    contents = [http.get(f"{TEMPO}/api/traces/{trace_id}").content for trace_id in trace_ids]
    contents.append(http.get(f"{TEMPO}/api/v2/search/tags").content)
    start = str(time.time_ns() - HOUR_S * 10**9)
    for service in SERVICES:
        query = f'{{service_name="{service}"}}'
        params = {"query": query, "start": start, "limit": str(MAX_LOGS)}
        contents.append(http.get(f"{LOKI}/loki/api/v1/query_range", params=params).content)
    contents.append(http.get(f"{LOKI}/loki/api/v1/series").content)
    all_series = '{__name__=~".+"}'
    params = {
        "match[]": all_series,
        "query": all_series,
        "start": str(time.time() - HOUR_S),
        "end": str(time.time()),
    }
    contents.append(http.get(f"{PROMETHEUS}/api/v1/series", params=params).content)
    contents.append(http.get(f"{PROMETHEUS}/api/v1/query_exemplars", params=params).content)
    return contents


async def query_interface_contents(stack: Stack, trace_ids: set[str]) -> list[object]:
    """Return the traces in ``trace_ids`` and the log records of the last hour."""
    async with stack.backends() as backends:
        now = time.time()
        traces = [await backends.trace(trace_id) for trace_id in trace_ids]
        logs = await backends.logs(now - HOUR_S, now + 60, limit=MAX_LOGS)
        return [traces, logs]


async def not_yet_arrived(stack: Stack, trace_ids: set[str]) -> set[str]:
    """Return the trace ids for which the backends have no spans or no log records yet."""
    missing = set()
    async with stack.backends() as backends:
        for trace_id in trace_ids:
            spans = await backends.trace(trace_id)
            now = time.time()
            if not spans or not await backends.trace_logs(trace_id, now - 600, now + 60):
                missing.add(trace_id)
    return missing


def trace_ids_of(responses: list[httpx2.Response]) -> set[str]:
    """Return the trace ids in the ``traceresponse`` headers of the responses."""
    headers = [response.headers.get("traceresponse", "") for response in responses]
    return {header.split("-")[1] for header in headers if header}


@pytest.mark.timeout(600)
def test_no_canary_is_stored_or_logged(stack: Stack) -> None:
    """No fake secret is stored or logged, while order ids, amounts and trace ids are."""
    canaries = Canaries()
    responses = list[httpx2.Response]()
    with (
        httpx2.Client(timeout=30, trust_env=False, headers={"connection": "close"}) as http,
        run_leaky_service(stack.state / "logs", OTLP) as (leaky_url, _),
    ):
        for base_url in (CHECKOUT, PAYMENT, leaky_url):
            responses += send_everywhere(http, base_url, canaries)
        responses += buy(http, canaries)
        send_by_otlp(http, canaries)
        request_trace_ids = trace_ids_of(responses)
        assert len(request_trace_ids) > 150
        trace_ids = request_trace_ids | {canaries.clean["trace"]}
        missing = set(trace_ids)

        def all_arrived() -> bool:
            missing.intersection_update(asyncio.run(not_yet_arrived(stack, missing)))
            return not missing

        wait_until(all_arrived, f"{len(trace_ids)} traces and their logs", ARRIVAL_TIMEOUT_S)
        contents = stored(stack, http, trace_ids)
    assert canaries.found(contents) == set()
    kept = [name for name, value in canaries.clean.items() if value.encode() in contents]
    assert kept == list(canaries.clean)
    leaky_port = httpx2.URL(leaky_url).port
    server_errors = {
        response.status_code
        for response in responses
        if response.status_code >= 500 and response.request.url.port != leaky_port
    }
    assert server_errors <= {500, 502, 504}
