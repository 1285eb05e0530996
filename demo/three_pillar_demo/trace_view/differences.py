"""Ranks what one group of requests has, and another group has not.

A difference counts only if chance hardly explains it (Fisher's exact test, one-sided), with as many
tests taken into account as there are things to compare (Bonferroni).
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from three_pillar_demo.query.peers import RESOURCE_NAMES, Fact, Facts

MAX_PROBABILITY = 0.05
"""The probability, that of any difference by chance alone, above which nothing is reported."""
MIN_SUPPORT = 3
"""The number of requests of the group that must have what is reported."""
MAX_DIFFERENCES = 5
"""The number of differences that are reported, the largest first."""
VERSION = "service.version"
OF_ADDRESS = re.compile(
    r"^(server|client|source|destination|network|net)\.|^(http\.(host|url)|url\.full)$"
)
"""Names of attributes with a host, a port or a connection: they say where, and rarely why."""


@dataclass(frozen=True)
class Difference:
    """Something that more requests of the group have than others.

    Attributes:
        facts: The facts that exactly these requests have; several say the same in other words.
        in_group: The number of requests of the group that have them.
        in_others: The number of the other requests that have them.
        share_difference: The share of the group minus that of the others, 0 to 1.
    """

    facts: tuple[Fact, ...]
    in_group: int
    in_others: int
    share_difference: float


def differences(facts: Facts, group: Sequence[Facts], others: Sequence[Facts]) -> list[Difference]:
    """Return which of ``facts`` are more frequent in ``group`` than in ``others``.

    The result is ordered by the difference of the shares, the largest first.
    """
    if not group or not others:
        return []
    found = []
    same = _same_requests(facts, group, others)
    for members, said in same.items():
        in_group = members & ((1 << len(group)) - 1)
        group_count = in_group.bit_count()
        other_count = (members >> len(group)).bit_count()
        share_difference = group_count / len(group) - other_count / len(others)
        probability = chance(group_count, len(group), other_count, len(others)) * len(same)
        if group_count >= MIN_SUPPORT and probability <= MAX_PROBABILITY:
            ordered = tuple(sorted(said, key=_importance))
            found.append(Difference(ordered, group_count, other_count, share_difference))
    found.sort(key=lambda item: (-item.share_difference, _importance(item.facts[0])))
    return found[:MAX_DIFFERENCES]


def chance(group_count: int, group_size: int, other_count: int, other_size: int) -> float:
    """Return how likely chance alone puts at least ``group_count`` into the group.

    It is the probability of Fisher's exact test: of ``group_size + other_size`` requests, of which
    ``group_count + other_count`` have something, ``group_size`` are drawn at random.
    """
    total = group_size + other_size
    having = group_count + other_count
    ways = sum(
        math.comb(having, count) * math.comb(total - having, group_size - count)
        for count in range(group_count, min(having, group_size) + 1)
    )
    return ways / math.comb(total, group_size)


def _same_requests(
    facts: Iterable[Fact], group: Sequence[Facts], others: Sequence[Facts]
) -> dict[int, list[Fact]]:
    """Return the facts by the requests that have them: a number with one bit for each request.

    The version, the instance and the host of a service, for example, are often one thing.
    """
    requests = [*group, *others]
    same: dict[int, list[Fact]] = {}
    for fact in facts:
        members = sum(1 << index for index, request in enumerate(requests) if fact in request)
        same.setdefault(members, []).append(fact)
    return same


def _importance(fact: Fact) -> tuple[int, Fact]:
    """Return a key that orders the version first, then attributes of spans that may be a cause.

    The instance and the other attributes of a resource come next, and addresses come last.
    """
    if fact.name == VERSION:
        return (0, fact)
    if fact.name in RESOURCE_NAMES:
        return (2 + RESOURCE_NAMES.index(fact.name), fact)
    return (2 + len(RESOURCE_NAMES) if OF_ADDRESS.search(fact.name) else 1, fact)
