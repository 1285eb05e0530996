"""Tests for the ranking of what one group of requests has, and another one has not."""

from itertools import combinations

import pytest

from three_pillar_demo.query.peers import Fact, Facts
from three_pillar_demo.trace_view.differences import MAX_DIFFERENCES, chance, differences

VISA = Fact("checkout", "card.network", "visa")
VERSION = Fact("payment", "service.version", "0.2.0")
INSTANCE = Fact("payment", "service.instance.id", "b")


def requests(count: int, *facts: Fact) -> list[Facts]:
    """Return ``count`` requests that say the same, and each an id of its own."""
    return [
        frozenset({*facts, Fact("checkout", "order.id", f"o-{len(facts)}-{number}")})
        for number in range(count)
    ]


def test_what_failures_have_in_common_is_found() -> None:
    """A value of all failures and of few successes is found, with both counts; an id is not."""
    group = requests(9, VISA)
    others = [*requests(12, VISA), *requests(128)]
    (found,) = differences(group[0], group, others)
    assert (found.facts, found.in_group, found.in_others) == ((VISA,), 9, 12)
    assert found.share_difference == pytest.approx(1 - 12 / 140)


def test_what_all_requests_have_is_usual() -> None:
    """A value that is as frequent among the successes is not reported."""
    group = requests(20, VISA)
    assert differences(group[0], group, requests(100, VISA)) == []


@pytest.mark.parametrize(("with_fact", "is_found"), [(1, False), (2, False), (9, True)])
def test_little_support_is_no_difference(with_fact: int, *, is_found: bool) -> None:
    """A value that two of nine failures share may be chance, even if no success has it."""
    group = [*requests(with_fact, VISA), *requests(9 - with_fact)]
    assert bool(differences(group[0], group, requests(200))) == is_found


def test_many_comparisons_demand_more() -> None:
    """The more facts are compared, the less likely by chance one of them must be."""
    group = requests(3, VISA)
    others = requests(12)
    alone = frozenset({VISA})
    assert len(differences(alone, group, others)) == 1
    # Each of these is in other requests, so that each is a comparison of its own.
    noise = [Fact("checkout", f"n{number}", "1") for number in range(1, 60)]
    others = [
        said | {fact for number, fact in enumerate(noise, start=1) if number >> index & 1}
        for index, said in enumerate(others)
    ]
    assert differences(alone | set(noise), group, others) == []


def test_the_same_requests_are_one_difference() -> None:
    """A version and an instance that exactly the same requests have are one line."""
    group = requests(9, INSTANCE, VERSION)
    (found,) = differences(group[0], group, requests(50))
    assert found.facts == (VERSION, INSTANCE)


def test_the_version_is_named_before_attributes_and_addresses() -> None:
    """Of what the same requests have, the version comes first, and the address comes last."""
    address = Fact("payment", "server.address", "127.0.0.1:57987")
    group = requests(9, address, INSTANCE, VISA, VERSION)
    (found,) = differences(group[0], group, requests(50))
    assert found.facts == (VERSION, VISA, INSTANCE, address)


def test_the_largest_differences_come_first() -> None:
    """Five differences at most are reported, ordered by the difference of the shares."""
    facts = [Fact("checkout", f"name-{number}", "x") for number in range(8)]
    group = requests(20, *facts)
    # The share of the successes that have a fact rises with its number.
    others = [
        frozenset(facts[number] for number in range(8) if index % 20 < number * 2)
        for index in range(100)
    ]
    found = differences(frozenset(facts), group, others)
    assert [item.facts[0] for item in found] == facts[:MAX_DIFFERENCES]
    assert [item.in_others for item in found] == [0, 10, 20, 30, 40]


def test_nothing_to_compare_is_no_difference() -> None:
    """Without one of the groups, or without facts, there is no difference and no error."""
    group = requests(5, VISA)
    assert differences(group[0], group, []) == []
    assert differences(group[0], [], group) == []
    assert differences(frozenset(), group, group) == []


@pytest.mark.parametrize("sizes", [(3, 5), (1, 6), (4, 4)])
def test_the_probability_is_that_of_fishers_test(sizes: tuple[int, int]) -> None:
    """The probability is the share of all ways to draw the group that put as many into it."""
    group_size, other_size = sizes
    total = group_size + other_size
    for having in range(total + 1):
        drawn = [
            sum(number < having for number in chosen)
            for chosen in combinations(range(total), group_size)
        ]
        for count in range(max(0, having - other_size), min(having, group_size) + 1):
            expected = sum(number >= count for number in drawn) / len(drawn)
            assert chance(count, group_size, having - count, other_size) == pytest.approx(expected)
