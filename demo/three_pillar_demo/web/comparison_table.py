"""What the page of a request says about its comparison with the requests beside it."""

import re
from dataclasses import dataclass
from typing import Any

from three_pillar_demo.query.peers import MAX_TREE_SPANS, Fact
from three_pillar_demo.trace_view.comparison import MIN_GROUP, MIN_OTHERS, WITHIN_S, Comparison
from three_pillar_demo.trace_view.differences import Difference
from three_pillar_demo.trace_view.names import service_text, span_text
from three_pillar_demo.web import formatting

MAX_ALSO = 2
"""The number of further names, of what the same requests have, that a row gives."""
MAX_SAME = 20
"""The number of further attributes, of the same requests, whose values a row gives."""
MAX_SEARCH = 200
"""The number of characters that the search field takes."""
SEARCHABLE_NAME = re.compile(r"[\w.\-/]+")


@dataclass(frozen=True)
class ComparisonRow:
    """One difference: what it is, and how many requests of both kinds have it.

    Attributes:
        fact: The attribute, and the service whose spans have it.
        also: Names of what exactly the same requests have, as ``host.name and 2 more``; or "".
        same: These attributes with their values, the most important first.
        search: What finds such requests in the list; "" if the list cannot search for it.
        group: The number of requests like this one that have it, as ``9 of 9``.
        others: The same for the others.
        group_percent: The share of ``group``.
        others_percent: The share of ``others``.
    """

    fact: Fact
    also: str
    same: list[Fact]
    search: str
    group: str
    others: str
    group_percent: int
    others_percent: int


@dataclass(frozen=True)
class ComparisonTable:
    """The part of the page that says what is unusual about a request.

    ``group`` and ``others`` are the names of both kinds of requests: ``failed`` and ``successful``,
    or ``slow`` and ``faster``. ``basis`` says which requests are compared. ``nothing`` says why
    there are no ``rows``; "" if there are some.
    """

    group: str
    others: str
    basis: str
    nothing: str
    rows: list[ComparisonRow]


def comparison_table(comparison: Comparison | None) -> ComparisonTable | None:
    """Return what the page shows of ``comparison``; None if it says nothing worth showing."""
    if comparison is None or not comparison.is_worth_showing:
        return None
    group, others = ("failed", "successful") if comparison.request.error else ("slow", "faster")
    return ComparisonTable(
        group,
        others,
        _basis(comparison, group, others),
        _nothing(comparison, group),
        [_row(difference, comparison) for difference in comparison.differences],
    )


def _basis(comparison: Comparison, group: str, others: str) -> str:
    counts = f"{comparison.group_size:,} {group} and {comparison.others_size:,} {others}"
    request = f"{span_text(comparison.request.name)} of {service_text(comparison.request.service)}"
    basis = f"{counts} requests {request}, within {WITHIN_S // 60} minutes of this one"
    if comparison.breaks:
        moments = " and ".join(map(formatting.clock, comparison.breaks))
        basis += f", but not beyond {moments}, when a drill began or ended"
    if comparison.whole_tree:
        return basis
    return (
        f"{basis}. Only the spans of the requests themselves are compared, because with those "
        f"below it this one has more than {MAX_TREE_SPANS}"
    )


def _nothing(comparison: Comparison, group: str) -> str:
    if not comparison.is_possible:
        return f"Too few to compare: it takes {MIN_GROUP} {group} requests and {MIN_OTHERS} others."
    if not comparison.differences:
        return (
            f"Nothing stands out: no attribute, version or instance is clearly more frequent in "
            f"the {group} ones. Numbers are compared as single values, not as ranges."
        )
    return ""


def _row(difference: Difference, comparison: Comparison) -> ComparisonRow:
    fact, *same = difference.facts
    names = list(dict.fromkeys(other.name for other in same))
    also = ", ".join(names[:MAX_ALSO])
    more = len(names) - MAX_ALSO
    return ComparisonRow(
        fact,
        f"{also} and {more:,} more" if more > 0 else also,
        same[:MAX_SAME],
        _search(fact, comparison),
        f"{difference.in_group:,} of {comparison.group_size:,}",
        f"{difference.in_others:,} of {comparison.others_size:,}",
        round(100 * difference.in_group / comparison.group_size),
        round(100 * difference.in_others / comparison.others_size),
    )


def _search(fact: Fact, comparison: Comparison) -> str:
    """Return what the search field finds such requests with.

    The list searches the attributes of the request's own span and of its resource.
    """
    request = comparison.request
    own: dict[str, Any] = request.resource | request.attributes
    is_own = fact.service == request.service and fact.name in own
    is_written = '"' not in fact.value and fact.value.isprintable()
    search = f'{fact.name}="{fact.value}"'
    if not is_own or not is_written or not SEARCHABLE_NAME.fullmatch(fact.name):
        return ""
    return search if len(search) <= MAX_SEARCH else ""
