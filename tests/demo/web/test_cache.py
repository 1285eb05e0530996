"""The cache: one question at a time whoever asks, bounded in time and number, and no error gets out."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from three_pillar_demo.query.interface import BackendError
from three_pillar_demo.web import cache
from three_pillar_demo.web.cache import Answer, Cache


async def next_answer(
    shared: Cache, question: Callable[[], Awaitable[int]], last: Answer[int]
) -> Answer[int]:
    """The first answer that is not the ``last`` one, which rests for a moment."""
    async with asyncio.timeout(10):
        while (answer := await shared.ask("key", question, 0)) == last:  # noqa: ASYNC110  (it comes when it is asked for)
            await asyncio.sleep(0.001)
    return answer


def test_visitors_share_an_answer() -> None:
    """A hundred who ask at once, and those who ask within its lifetime, cost one question."""
    asked = []

    async def question() -> int:
        asked.append(1)
        await asyncio.sleep(0)
        return len(asked)

    async def visit() -> list[Answer[int]]:
        shared = Cache()
        first = await asyncio.gather(*(shared.ask("key", question, 60) for _ in range(100)))
        return [*first, await shared.ask("key", question, 60)]

    assert {each.value for each in asyncio.run(visit())} == {1}
    assert len(asked) == 1


def test_an_answer_gets_old() -> None:
    """After its lifetime the question is asked again."""
    asked = iter(range(10))

    async def question() -> int:
        return next(asked)

    async def visit() -> list[int | None]:
        shared = Cache()
        first = await shared.ask("key", question, 0)
        return [first.value, (await next_answer(shared, question, first)).value]

    assert asyncio.run(visit()) == [0, 1]


@pytest.mark.parametrize(
    "error", [BackendError("store at 127.0.0.1: gone"), KeyError("batches"), ValueError("no JSON")]
)
def test_an_error_is_an_answer(error: Exception) -> None:
    """Whatever goes wrong with a question is told in its answer, and the next one may go well."""
    answers: list[Exception | int] = [error, 7]

    async def question() -> int:
        said = answers.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    async def visit() -> tuple[Answer[int], Answer[int]]:
        shared = Cache()
        first = await shared.ask("key", question, 0)
        return first, await next_answer(shared, question, first)

    first, second = asyncio.run(visit())
    assert first.value is None
    assert str(error.args[0]) in first.error
    assert second == Answer(7)


async def never() -> int:
    """Wait for what does not come."""
    await asyncio.Event().wait()
    return 0


def test_a_slow_backend_is_given_up() -> None:
    """A question that takes too long ends as an error."""

    async def visit() -> Answer[int]:
        return await Cache(timeout=0.01, patience=5).ask("key", never)

    assert asyncio.run(visit()).error == "no answer within 0.01 s"


def test_a_visitor_does_not_wait_for_ever() -> None:
    """While a question is under way, the last answer is shown, or none; an old one is not."""

    async def visit() -> list[Answer[int]]:
        shared = Cache(timeout=60, patience=0.01)

        async def quick() -> int:
            return 1

        none = await shared.ask("slow", never)
        await shared.ask("key", quick, 0)
        shared.entries["key"].due = time.monotonic()  # as after its rest
        last = await shared.ask("key", never)
        await shared.ask("old", quick, 0)
        shared.entries["old"].due = time.monotonic() - cache.STALE
        old = await shared.ask("old", never)
        await shared.close()
        return [none, last, old]

    assert asyncio.run(visit()) == [cache.NONE, Answer(1), cache.NONE]


def test_few_questions_are_remembered_and_few_under_way() -> None:
    """A thousand different questions leave a bounded number of answers, and were never more than a few at once."""
    running, most = 0, 0

    def question(number: int) -> Callable[[], Awaitable[int]]:
        async def ask() -> int:
            nonlocal running, most
            running, most = running + 1, max(most, running + 1)
            await asyncio.sleep(0)
            running -= 1
            return number

        return ask

    async def visit() -> int:
        shared = Cache()
        for start in range(0, 1000, 50):
            await asyncio.gather(
                *(shared.ask(number, question(number)) for number in range(start, start + 50))
            )
        return len(shared.entries)

    assert asyncio.run(visit()) == cache.ENTRIES
    assert most <= cache.AT_ONCE
