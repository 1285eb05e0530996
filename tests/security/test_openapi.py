"""Generated requests to both services: valid and invalid ones, by their OpenAPI documents.

The number of requests is fixed, and they are the same in every run.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from services.payment.faults import CRASH, DECLINED, GATEWAY_TIMEOUT, SLOW
from tests.end_to_end.conftest import FULL
from tests.processes import Service, running_shop

CASES = 250 if FULL else 100
PHASES = (Phase.explicit, Phase.generate)
FAULT_CARDS = (CRASH, DECLINED, GATEWAY_TIMEOUT, SLOW)
"""Cards that trigger a simulated fault; with them, an answer with status 5xx is correct."""
NO_EXPORT = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
REQUEST_TIMEOUT_S = 30


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Service]]:
    """Both services by name, each with one worker and without random faults."""
    folder = tmp_path_factory.mktemp("services")
    with running_shop(folder, "http://127.0.0.1:9", **NO_EXPORT) as (checkout, payment):
        yield {"checkout": checkout, "payment": payment}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "mode", [pytest.param("positive", id="allowed"), pytest.param("negative", id="forbidden")]
)
@pytest.mark.parametrize("name", ["checkout", "payment"])
def test_no_request_breaks_a_service(services: dict[str, Service], name: str, mode: str) -> None:
    """No generated request blocks a worker, and none causes a 5xx without a fault card."""
    # Every test process imports every module of tests, and this import takes half a second.
    import schemathesis  # noqa: PLC0415

    service = services[name]
    responses = Counter[str]()
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    for result in schema.get_all_operations():
        operation: schemathesis.APIOperation[Any, Any, Any, Any] = result.ok()  # type: ignore[union-attr]
        if mode == "negative" and operation.path == "/healthz":
            continue  # it takes no input, so no request can be wrong

        @seed(1)
        @settings(
            max_examples=CASES,
            database=None,
            deadline=None,
            phases=PHASES,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
        def send(case: schemathesis.Case[Any]) -> None:
            response = case.call(timeout=REQUEST_TIMEOUT_S)
            responses[f"{case.method} {case.path} {response.status_code}"] += 1
            simulated = isinstance(case.body, dict) and case.body.get("card") in FAULT_CARDS
            details = (case.as_curl_command(), response.content[:500])
            assert response.status_code < 500 or simulated, details
            if "/healthz" not in case.path:
                assert len(response.json()["trace_id"]) == 32

        send()
    print(dict(responses))  # noqa: T201
    assert sum(responses.values()) > CASES / 2
    assert service.process.poll() is None
    assert services["checkout"].post("/checkout").status_code == 200
