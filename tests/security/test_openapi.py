"""Everything that the two services' OpenAPI allows, and what it forbids: a fixed number of cases, the same in every run."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import APIOperation, Case, GenerationMode

from services.payment.faults import CRASH, DECLINED, GATEWAY_TIMEOUT, SLOW
from tests.end_to_end.conftest import FULL
from tests.processes import Service, running_shop

CASES = 250 if FULL else 100
PHASES = (Phase.explicit, Phase.generate)
MAGIC = (CRASH, DECLINED, GATEWAY_TIMEOUT, SLOW)
QUIET = {f"OTEL_{each}_EXPORTER": "none" for each in ("TRACES", "METRICS", "LOGS")}


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Service]]:
    """Both services, each with one worker, where nothing fails by chance."""
    with running_shop(tmp_path_factory.mktemp("doors"), "http://127.0.0.1:9", **QUIET) as (
        checkout,
        payment,
    ):
        yield {"checkout": checkout, "payment": payment}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "forbidden"]
)
@pytest.mark.parametrize("service", ["checkout", "payment"])
def test_nothing_that_can_be_asked_breaks_a_service(
    doors: dict[str, Service], service: str, mode: GenerationMode
) -> None:
    """A hundred or more cases of what is allowed, and of what is not: no 5xx but for a magic card, and no hung worker."""
    door, seen = doors[service], Counter[str]()
    schema = schemathesis.openapi.from_url(f"{door.url}/openapi.json")
    for found in schema.get_all_operations():
        operation: APIOperation[Any, Any, Any, Any] = found.ok()  # type: ignore[union-attr]
        if mode is GenerationMode.NEGATIVE and operation.path == "/healthz":
            continue  # it asks for nothing, so nothing can be wrong

        @seed(1)
        @settings(
            max_examples=CASES,
            database=None,
            deadline=None,
            phases=PHASES,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Case[Any]) -> None:
            answer = case.call(timeout=30)
            seen[f"{case.method} {case.path} {answer.status_code}"] += 1
            simulated = isinstance(case.body, dict) and case.body.get("card") in MAGIC
            assert answer.status_code < 500 or simulated, (
                case.as_curl_command(),
                answer.content[:500],
            )
            if "/healthz" not in case.path:
                assert len(answer.json()["trace_id"]) == 32

        ask()
    print(dict(seen))  # noqa: T201
    assert sum(seen.values()) > CASES / 2
    assert door.process.poll() is None
    assert doors["checkout"].post("/checkout").status_code == 200
