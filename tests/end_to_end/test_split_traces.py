"""A trace whose spans arrive with two exports of a service keeps all of them in Tempo."""

import asyncio
import secrets
import time

import httpx2
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from tests.demo.local_store.messages import span, trace_request
from tests.demo.local_store.stores import PROTOBUF
from tests.end_to_end.conftest import Stack, receiver_url
from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.query.literals import quoted
from three_pillar_demo.verify.check import poll_until
from three_pillars.variables import OpenTelemetryVariables

pytestmark = pytest.mark.full

EXPORT_INTERVAL_S = OpenTelemetryVariables.model_fields["bsp_schedule_delay"].default / 1000
"""The time between two exports of a service, in seconds."""
TRACES = 10
"""The traces of the test, spread over one second, because Tempo looks for idle ones each second."""
SPANS = 4


class SplitTrace:
    """The trace of a purchase, whose spans have the name ``run``.

    Attributes:
        trace_id: Its id.
        first_export: What checkout sends when the call of payment has just ended.
        second_export: The spans that end afterwards, and that of payment: a request for each.
    """

    def __init__(self, run: str) -> None:
        self.trace_id = secrets.token_bytes(16)
        start = time.time_ns()

        def request(
            number: int, kind: OtlpSpan.SpanKind.ValueType, service: str = "checkout"
        ) -> bytes:
            """Return an export request with a span that starts after those of lower numbers."""
            sent = span(run, trace_id=self.trace_id, kind=kind, start=start + number, seconds=0.01)
            data: bytes = trace_request(sent, service=service).SerializeToString()
            return data

        self.first_export = [request(2, OtlpSpan.SPAN_KIND_CLIENT)]
        self.second_export = [
            request(1, OtlpSpan.SPAN_KIND_INTERNAL),
            request(0, OtlpSpan.SPAN_KIND_SERVER),
            request(3, OtlpSpan.SPAN_KIND_SERVER, "payment"),
        ]


async def send(requests: list[bytes]) -> None:
    """Send export requests to the Collector."""
    async with httpx2.AsyncClient(trust_env=False) as http:
        for request in requests:
            url = f"{receiver_url()}/v1/traces"
            (await http.post(url, content=request, headers=PROTOBUF)).raise_for_status()


async def span_count(backends: LgtmBackends, trace: SplitTrace) -> int:
    """Return how many spans Tempo returns for the id of a trace."""
    return len(await backends.trace(trace.trace_id.hex()))


async def send_and_query(backends: LgtmBackends, trace: SplitTrace, delay: float) -> bool:
    """Send a trace with two exports, query it meanwhile, and return whether it became whole."""

    async def is_whole() -> bool:
        return await span_count(backends, trace) == SPANS

    await asyncio.sleep(delay)
    await send(trace.first_export)
    await asyncio.sleep(EXPORT_INTERVAL_S)
    await send(trace.second_export)
    return await poll_until(is_whole)


async def written_count(backends: LgtmBackends, run: str) -> int:
    """Return how many traces a search finds: it does not see what Tempo has in memory only."""
    query = f'{{ name={quoted(run)} && kind=server && resource.service.name="checkout" }}'
    return len(await backends.traceql(query, time.time() - 60, time.time(), TRACES))


def test_a_query_by_id_costs_no_span(stack: Stack) -> None:
    """A trace that was queried when its last spans had just arrived is whole on disk too."""
    assert stack
    run = f"split {secrets.token_hex(4)}"
    traces = [SplitTrace(run) for _ in range(TRACES)]

    async def count_spans() -> list[int]:
        async with LgtmBackends() as backends:

            async def are_written() -> bool:
                return await written_count(backends, run) == TRACES

            sent = (
                send_and_query(backends, trace, number / TRACES)
                for number, trace in enumerate(traces)
            )
            assert all(await asyncio.gather(*sent))
            assert await poll_until(are_written)
            return [await span_count(backends, trace) for trace in traces]

    assert asyncio.run(count_spans()) == [SPANS] * TRACES
