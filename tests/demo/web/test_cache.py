"""Tests for the query cache: shared results, limits, and errors that become results."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

from three_pillar_demo.query.interface import BackendError
from three_pillar_demo.web import cache
from three_pillar_demo.web.cache import QueryCache, QueryResult


async def next_result(
    query_cache: QueryCache, query: Callable[[], Awaitable[int]], previous: QueryResult[int]
) -> QueryResult[int]:
    """Query until the result differs from ``previous``, and return it."""
    async with asyncio.timeout(10):
        while True:
            result = await query_cache.get("key", query, 0)
            if result != previous:
                return result
            await asyncio.sleep(0.001)


def test_visitors_share_a_result() -> None:
    """A hundred visitors within the lifetime of a result cost one query."""
    queries = []

    async def query() -> int:
        queries.append(1)
        await asyncio.sleep(0)
        return len(queries)

    async def visit() -> list[QueryResult[int]]:
        query_cache = QueryCache()
        at_once = await asyncio.gather(*(query_cache.get("key", query, 60) for _ in range(100)))
        return [*at_once, await query_cache.get("key", query, 60)]

    assert {result.value for result in asyncio.run(visit())} == {1}
    assert len(queries) == 1


def test_result_expires() -> None:
    """After its lifetime a result is queried again."""
    numbers = iter(range(10))

    async def query() -> int:
        return next(numbers)

    async def visit() -> list[int | None]:
        query_cache = QueryCache()
        first = await query_cache.get("key", query, 0)
        second = await next_result(query_cache, query, first)
        return [first.value, second.value]

    assert asyncio.run(visit()) == [0, 1]


@pytest.mark.parametrize(
    "error", [BackendError("store at 127.0.0.1: gone"), KeyError("batches"), ValueError("no JSON")]
)
def test_error_becomes_a_result(error: Exception) -> None:
    """A query that raises has a result with the error, and the next query may succeed."""
    outcomes: list[Exception | int] = [error, 7]

    async def query() -> int:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def visit() -> tuple[QueryResult[int], QueryResult[int]]:
        query_cache = QueryCache()
        first = await query_cache.get("key", query, 0)
        return first, await next_result(query_cache, query, first)

    first, second = asyncio.run(visit())
    assert first.value is None
    assert str(error.args[0]) in first.error
    assert second == QueryResult(7)


async def hang() -> int:
    """Wait for ever."""
    await asyncio.Event().wait()
    return 0


def test_slow_query_times_out() -> None:
    """A query that takes too long ends with an error."""

    async def visit() -> QueryResult[int]:
        return await QueryCache(timeout=0.01, first_wait=5).get("key", hang)

    assert asyncio.run(visit()).error == "no answer within 0.01 s"


def test_the_time_limit_leaves_out_what_is_computed() -> None:
    """What is computed from an answer is returned however long it takes, or its error is."""
    go_on = threading.Event()

    async def query() -> int:
        return 20

    def compute(answer: int) -> int:
        assert go_on.wait(10)
        return 2 * answer

    async def visit() -> list[QueryResult[int]]:
        query_cache = QueryCache(timeout=0.01, first_wait=0.05)
        results = [await query_cache.get_computed("key", query, compute)]
        go_on.set()
        query_cache.first_wait = 10
        results.append(await query_cache.get_computed("key", query, compute))
        results.append(await query_cache.get_computed("slow", hang, compute))
        results.append(await query_cache.get_computed("wrong", query, lambda answer: answer // 0))
        return results

    pending, computed, slow, wrong = asyncio.run(visit())
    assert pending is cache.PENDING
    assert computed == QueryResult(40)
    assert slow.error == "no answer within 0.01 s"
    assert wrong.error.startswith("ZeroDivisionError: ")


def test_visitor_waits_a_limited_time() -> None:
    """While a query runs, its previous result is shown unless that is too old."""

    async def visit() -> list[QueryResult[int]]:
        query_cache = QueryCache(timeout=60, first_wait=0.01)

        async def quick() -> int:
            return 1

        never_answered = await query_cache.get("slow", hang)
        await query_cache.get("key", quick, 0)
        query_cache.entries["key"].due = time.monotonic()  # as after its rest
        previous = await query_cache.get("key", hang)
        await query_cache.get("old", quick, 0)
        query_cache.entries["old"].due = time.monotonic() - cache.STALE_AFTER_S
        too_old = await query_cache.get("old", hang)
        await query_cache.close()
        return [never_answered, previous, too_old]

    assert asyncio.run(visit()) == [cache.PENDING, QueryResult(1), cache.PENDING]


def test_entries_and_running_queries_are_limited() -> None:
    """A thousand queries keep a bounded number of results, with only a few running at a time."""
    running = 0
    most_running = 0

    def query(number: int) -> Callable[[], Awaitable[int]]:
        async def run() -> int:
            nonlocal running, most_running
            running += 1
            most_running = max(most_running, running)
            await asyncio.sleep(0)
            running -= 1
            return number

        return run

    async def visit() -> int:
        query_cache = QueryCache()
        for start in range(0, 1000, 50):
            numbers = range(start, start + 50)
            await asyncio.gather(*(query_cache.get(number, query(number)) for number in numbers))
        return len(query_cache.entries)

    assert asyncio.run(visit()) == cache.MAX_ENTRIES
    assert most_running <= cache.MAX_CONCURRENT
