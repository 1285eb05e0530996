"""Tests which request the start page takes for the first one, from one answer to the next."""

from tests.traces import ROOT, span
from three_pillar_demo.web.cache import PENDING, QueryResult
from three_pillar_demo.web.first_request import FirstRequest
from three_pillar_demo.web.request_list import RequestList, RequestRow

NONE: RequestList = QueryResult([])
FIRST = RequestRow(
    span(ROOT, ""), "200", failed=False, failure="", called=(), time=1.0, seconds=0.1, ahead=0.0
)
ONE: RequestList = QueryResult([FIRST])


def test_without_an_answer_nothing_is_empty() -> None:
    """A query that fails is no empty list: the requests after it are not the first ones."""
    noticed = FirstRequest()
    noticed.notice(QueryResult(error="the store is down"))
    assert noticed.notice(ONE) is None


def test_without_an_answer_the_page_goes_on_waiting() -> None:
    """A query that fails while the page waits does not make it miss the first request."""
    noticed = FirstRequest()
    noticed.notice(NONE)
    noticed.notice(PENDING)
    assert noticed.notice(ONE) is FIRST
    assert noticed.notice(PENDING) is FIRST


def test_an_emptied_store_has_no_first_request() -> None:
    """When the list is empty again, its former first request is not shown, and the next one is."""
    noticed = FirstRequest()
    noticed.notice(NONE)
    assert noticed.notice(ONE) is FIRST
    assert noticed.notice(NONE) is None
    assert noticed.notice(ONE) is FIRST
