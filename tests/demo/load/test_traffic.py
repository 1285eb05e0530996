"""Tests for ``demo traffic``: its arguments, its plans, its steady rate, and its report."""

import asyncio
import io
import math
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import httpx2
import pytest
from rich.console import Console

from three_pillar_demo.load import checkout_client, traffic
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.load.stats import LoadStats, percentile
from three_pillar_demo.load.traffic import (
    DEFAULT_MIX,
    LoadPlan,
    drive,
    parse_duration,
    parse_mix,
    parse_rate,
)

Handler = Callable[[httpx2.Request], Coroutine[Any, Any, httpx2.Response]]
ORDINARY = {"ordinary": 1.0}


def answer(outcome: str = "success", status: int = 200) -> httpx2.Response:
    """Return the HTTP response of checkout to a purchase."""
    return httpx2.Response(
        status, json={"outcome": outcome, "trace_id": "0" * 31 + "1", "message": ""}
    )


async def at_once(_request: httpx2.Request) -> httpx2.Response:
    """Answer a request at once."""
    return answer()


def shop_client(handler: Handler) -> httpx2.AsyncClient:
    """Return an HTTP client whose requests are answered by ``handler``."""
    return httpx2.AsyncClient(transport=httpx2.MockTransport(handler), base_url="http://shop")


def purchase(card: str = "ordinary", outcome: str = "success", status: int = 200) -> Purchase:
    """Return an answered purchase."""
    return Purchase(card, "o-1", "0" * 31 + "1", status, outcome, "", 0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("2m", 120), ("1h", 3600), ("500ms", 0.5), ("1.5m", 90), ("24h", 86400)],
)
def test_durations_are_parsed(text: str, seconds: float) -> None:
    """A number with a unit is converted to seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "60",
        "s",
        "1h30m",
        "-5s",
        "0s",
        "25h",
        "1e3s",
        " 5s",
        "5 s",
        "nans",
        "\u0665s",
        "9" * 99 + "h",
    ],
)
def test_other_durations_are_refused(text: str) -> None:
    """Any other duration is refused with examples of valid ones."""
    with pytest.raises(ValueError, match="like 500ms, 60s, 2m or 1h"):
        parse_duration(text)


@pytest.mark.parametrize("rate", [0.0, -1.0, 200.1, math.inf, math.nan])
def test_rates_out_of_range_are_refused(rate: float) -> None:
    """A rate must be over 0 and at most 200."""
    with pytest.raises(ValueError, match="over 0 and up to 200"):
        parse_rate(rate)
    assert parse_rate(200) == 200


def test_card_mixes_are_parsed() -> None:
    """A card mix is ``default``, or cards with weights."""
    assert parse_mix("default") == DEFAULT_MIX
    assert parse_mix("ordinary=9,slow=0.5") == {"ordinary": 9.0, "slow": 0.5}


@pytest.mark.parametrize(
    "text",
    ["", "gold=1", "slow", "slow=", "slow=-1", "slow=nan", "slow=0", "slow=1,", "slow=1;crash=1"],
)
def test_other_card_mixes_are_refused(text: str) -> None:
    """Any other card mix is refused with the list of cards."""
    with pytest.raises(
        ValueError, match="cards: ordinary, declined, invalid, gateway-timeout, slow, crash"
    ):
        parse_mix(text)


def test_a_percentile_is_a_measured_value() -> None:
    """A percentile is the smallest value that the given share of all values does not exceed."""
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0, 0.5, 0.95, 0.99, 1)] == [1, 50, 95, 99, 100]
    assert [percentile([3.0], share) for share in (0.5, 1)] == [3, 3]
    assert math.isnan(percentile([], 0.5))


def test_a_plan_repeats() -> None:
    """Equal seeds give equal arrivals, order ids are unique, and arrivals are evenly spaced."""
    plan = list(LoadPlan(50, 20, seed=7).arrivals())
    assert plan == list(LoadPlan(50, 20, seed=7).arrivals())
    assert [card for _, card, _ in plan] != [
        card for _, card, _ in LoadPlan(50, 20, seed=8).arrivals()
    ]
    assert [arrival for arrival, _, _ in plan] == [number / 50 for number in range(1000)]
    assert len({order_id for _, _, order_id in plan}) == 1000
    assert plan[41][2] == "traffic-7-41"


def test_the_default_mix_is_mostly_ordinary() -> None:
    """Most purchases use ordinary cards, and every other card occurs as well."""
    cards = Counter(card for _, card, _ in LoadPlan(100, 20).arrivals())
    assert cards.keys() == DEFAULT_MIX.keys()
    assert cards["ordinary"] > 0.8 * cards.total()


def test_a_slow_service_receives_the_planned_load() -> None:
    """A checkout that answers nothing until every purchase has arrived receives all of them."""
    all_arrived = asyncio.Event()
    arrived = 0

    async def answer_when_all_arrived(_request: httpx2.Request) -> httpx2.Response:
        nonlocal arrived
        arrived += 1
        if arrived == 40:
            all_arrived.set()
        await all_arrived.wait()
        return answer()

    stats = LoadStats(200, 0.2)
    asyncio.run(
        drive(
            shop_client(answer_when_all_arrived),
            LoadPlan(200, 0.2, ORDINARY),
            stats,
            asyncio.Event(),
        )
    )
    assert (stats.sent, arrived, stats.in_flight, stats.all_answered) == (40, 40, 0, True)


def test_a_purchase_never_waits_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client has a connection for each purchase in flight, not only its default of 100."""
    all_arrived = asyncio.Event()
    arrived = 0
    response = answer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            field for field in head.lower().split(b"\r\n") if field.startswith(b"content-length:")
        )
        await reader.readexactly(int(length.partition(b":")[2]))
        arrived += 1
        if arrived == 120:
            all_arrived.set()
        await all_arrived.wait()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            % len(response.content)
            + response.content
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def run() -> LoadStats:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=200)
        monkeypatch.setenv("CHECKOUT_PORT", str(server.sockets[0].getsockname()[1]))
        stats = LoadStats(200, 0.6)
        async with server, checkout_client.client(traffic.MAX_IN_FLIGHT) as http:
            await drive(http, LoadPlan(200, 0.6, ORDINARY), stats, asyncio.Event())
        return stats

    stats = asyncio.run(run())
    assert (stats.sent, stats.all_answered, dict(stats.unanswered)) == (120, True, {})


def test_latency_counts_from_the_scheduled_start() -> None:
    """The delay of a late start is part of the latency and is reported."""
    stats = LoadStats(1, 1)
    stats.in_flight = 1
    asyncio.run(
        traffic._purchase(  # noqa: SLF001  (the schedule is not visible from outside)
            shop_client(at_once), stats, "ordinary", "o-1", time.monotonic() - 5
        )
    )
    assert stats.latencies["success", 200][0] >= 5
    assert stats.latest >= 5
    assert stats.in_flight == 0


def test_purchases_over_the_limit_are_not_sent() -> None:
    """An arrival is skipped and counted while too many purchases are in flight."""
    all_scheduled = asyncio.Event()

    class Watched(LoadPlan):
        def arrivals(self) -> Iterator[tuple[float, str, str]]:
            yield from super().arrivals()
            all_scheduled.set()

    async def hold(_request: httpx2.Request) -> httpx2.Response:
        await all_scheduled.wait()
        return answer()

    stats = LoadStats(200, 0.1)
    asyncio.run(
        drive(
            shop_client(hold), Watched(200, 0.1, ORDINARY, max_in_flight=3), stats, asyncio.Event()
        )
    )
    assert (stats.sent, stats.not_sent, stats.all_answered) == (3, 17, False)
    assert sum(map(len, stats.latencies.values())) == 3


def test_a_stopped_run_waits_for_missing_answers() -> None:
    """After the stop no purchase arrives, and those in flight are answered and counted."""
    stop = asyncio.Event()

    async def stop_at_the_third(request: httpx2.Request) -> httpx2.Response:
        if b"traffic-0-2" in request.content:
            stop.set()
        return answer()

    stats = LoadStats(200, 3600)
    asyncio.run(drive(shop_client(stop_at_the_third), LoadPlan(200, 3600, ORDINARY), stats, stop))
    assert 3 <= stats.sent < 200 * 3600
    assert (stats.in_flight, stats.all_answered) == (0, True)


def test_no_answer_is_counted_with_its_reason() -> None:
    """A purchase without an answer is counted by its reason and has no latency."""

    async def broken(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    stats = LoadStats(100, 0.02)
    asyncio.run(drive(shop_client(broken), LoadPlan(100, 0.02, ORDINARY), stats, asyncio.Event()))
    assert (stats.sent, stats.errors, stats.all_answered, len(stats.latencies)) == (2, 2, False, 0)
    assert "refused" in next(iter(stats.unanswered))


REPORT = """\
outcome          status  count  share  p50 s  p95 s  p99 s  max s
success             200      2  50.0%  0.200  0.300  0.300  0.300
gateway_timeout     500      1  25.0%  0.100  0.100  0.100  0.100
unanswered                   1  25.0%
all answers                  3  75.0%  0.200  0.300  0.300  0.300

Sent 4 in 2.0 s: 2.00/s of 2/s requested; latest start 3 ms late.
Not sent: 5, because too many were in flight.
Unanswered: 1, \\x1b[2J[red]gone[/]
To see why the last one failed: demo follow --last-error
"""


def stats_of_four() -> LoadStats:
    """Return statistics with two successes, one error and one purchase without an answer."""
    stats = LoadStats(2, 2, began=10.0, ended=12.0, sent=4, not_sent=5, latest=0.003)
    for latency in (0.2, 0.3):
        stats.answered(purchase(), latency)
    stats.answered(purchase(outcome="gateway_timeout", status=500), 0.1)
    stats.unanswered["\x1b[2J[red]gone[/]"] += 1
    return stats


def test_the_report_reads_at_80_columns() -> None:
    """The report has the figures of each outcome and names what was not answered."""
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as capture:
        stats_of_four().report(console)
    assert "\n".join(line.rstrip() for line in capture.get().split("\n")) == REPORT


def test_the_progress_line() -> None:
    """The progress line has time, sent, rate, in flight, errors and percentiles."""
    assert (
        str(stats_of_four().line())
        == "2 of 2 s  sent 4 (2.0/s)  in flight 0  errors 2  p50 0.20 s  p95 0.30 s"
    )
    assert str(LoadStats(5, 60).line()) == "0 of 60 s  sent 0 (0.0/s)  in flight 0  errors 0"


def run(monkeypatch: pytest.MonkeyPatch, handler: Handler, rate: float, duration: str) -> int:
    """Run the command with requests answered by ``handler``; return its exit code."""
    monkeypatch.setattr(checkout_client, "client", lambda _connections: shop_client(handler))
    return asyncio.run(traffic.traffic(rate, duration))


def test_the_command_reports(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When every purchase is answered, the report is plain text and the exit code is 0."""
    assert run(monkeypatch, at_once, 100, "50ms") == 0
    out, err = capsys.readouterr()
    assert "Sent 5 in 0." in out
    assert "\x1b" not in out
    assert not err


def test_ctrl_c_prints_the_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C ends the arrivals at once, waits for missing answers, and prints the report."""

    async def interrupt_at_the_third(request: httpx2.Request) -> httpx2.Response:
        if b"traffic-0-2" in request.content:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(0)
        return answer()

    assert run(monkeypatch, interrupt_at_the_third, 100, "1h") == 0
    assert re.search(r"^Sent [0-9]{1,4} in", capsys.readouterr().out, re.MULTILINE)


def test_a_second_ctrl_c_cancels_purchases_in_flight(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a second Ctrl-C, missing answers are counted as unanswered and the exit code is 1."""

    async def never(request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            return answer()
        loop = asyncio.get_running_loop()
        for _ in range(2):
            loop.call_soon(signal.raise_signal, signal.SIGINT)
        await asyncio.Event().wait()
        return answer()

    assert run(monkeypatch, never, 100, "1h") == 1
    assert re.search(
        r"^Unanswered: [0-9]+, cancelled by the second Ctrl-C$",
        capsys.readouterr().out,
        re.MULTILINE,
    )


def test_an_unreachable_checkout_is_one_error_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When checkout cannot be reached, one line on stderr says so and the exit code is 1."""

    async def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    assert run(monkeypatch, refuse, 5, "60s") == 1
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert "refused (is it up? see: demo status)" in err


def test_bad_arguments_are_one_error_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A bad rate, duration or card mix is one line on stderr, and the exit code is 2."""
    for rate, duration, mix in (
        (0.0, "60s", "default"),
        (5.0, "60", "default"),
        (5.0, "60s", "gold=1"),
    ):
        assert asyncio.run(traffic.traffic(rate, duration, mix)) == 2
        out, err = capsys.readouterr()
        assert not out
        assert err.startswith("demo traffic: ")
        assert err.count("\n") == 1
