"""Traffic: what it accepts, that a plan repeats, that customers come on time whatever the shop does, and what it reports."""

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
    Plan,
    drive,
    parse_duration,
    parse_mix,
    parse_rate,
)

Handler = Callable[[httpx2.Request], Coroutine[Any, Any, httpx2.Response]]
ORDINARY = {"ordinary": 1.0}


def answer(outcome: str = "success", status: int = 200) -> httpx2.Response:
    """What checkout says."""
    return httpx2.Response(
        status, json={"outcome": outcome, "trace_id": "0" * 31 + "1", "message": ""}
    )


async def at_once(_request: httpx2.Request) -> httpx2.Response:
    """A shop that is quick."""
    return answer()


def customers(handler: Handler) -> httpx2.AsyncClient:
    """A client of a shop that lives in ``handler``."""
    return httpx2.AsyncClient(transport=httpx2.MockTransport(handler), base_url="http://shop")


def bought(card: str = "ordinary", outcome: str = "success", status: int = 200) -> Purchase:
    """A purchase."""
    return Purchase(card, "o-1", "0" * 31 + "1", status, outcome, "", 0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("2m", 120), ("1h", 3600), ("500ms", 0.5), ("1.5m", 90), ("24h", 86400)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    """A number and its unit are seconds."""
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
    """Anything else is refused with an example of what to write."""
    with pytest.raises(ValueError, match="like 500ms, 60s, 2m or 1h"):
        parse_duration(text)


@pytest.mark.parametrize("rate", [0.0, -1.0, 200.1, math.inf, math.nan])
def test_rates_out_of_range_are_refused(rate: float) -> None:
    """A rate is over 0 and up to 200."""
    with pytest.raises(ValueError, match="over 0 and up to 200"):
        parse_rate(rate)
    assert parse_rate(200) == 200


def test_mixes_are_read() -> None:
    """A mix is the default one, or cards with weights."""
    assert parse_mix("default") == DEFAULT_MIX
    assert parse_mix("ordinary=9,slow=0.5") == {"ordinary": 9.0, "slow": 0.5}


@pytest.mark.parametrize(
    "text",
    ["", "gold=1", "slow", "slow=", "slow=-1", "slow=nan", "slow=0", "slow=1,", "slow=1;crash=1"],
)
def test_other_mixes_are_refused(text: str) -> None:
    """Anything else is refused with the cards there are."""
    with pytest.raises(
        ValueError, match="cards: ordinary, declined, invalid, gateway-timeout, slow, crash"
    ):
        parse_mix(text)


def test_percentiles_are_of_what_was_measured() -> None:
    """A percentile is one of the values: the smallest that so many of them do not exceed."""
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0, 0.5, 0.95, 0.99, 1)] == [1, 50, 95, 99, 100]
    assert [percentile([3.0], share) for share in (0.5, 1)] == [3, 3]
    assert math.isnan(percentile([], 0.5))


def test_a_plan_repeats() -> None:
    """The same seed makes the same customers, another one others; order ids are unique and arrivals evenly spread."""
    plan = list(Plan(50, 20, seed=7).customers())
    assert plan == list(Plan(50, 20, seed=7).customers())
    assert [card for _, card, _ in plan] != [
        card for _, card, _ in Plan(50, 20, seed=8).customers()
    ]
    assert [arrival for arrival, _, _ in plan] == [number / 50 for number in range(1000)]
    assert len({order_id for _, _, order_id in plan}) == 1000
    assert plan[41][2] == "traffic-7-41"


def test_the_default_mix_is_mostly_ordinary() -> None:
    """Most customers have ordinary cards, and every other card comes too."""
    cards = Counter(card for _, card, _ in Plan(100, 20).customers())
    assert cards.keys() == DEFAULT_MIX.keys()
    assert cards["ordinary"] > 0.8 * cards.total()


def test_a_slow_shop_gets_as_many_customers() -> None:
    """An open loop: a shop that answers nobody until all have come still gets all of them."""
    everybody = asyncio.Event()
    inside = 0

    async def nobody_is_served_first(_request: httpx2.Request) -> httpx2.Response:
        nonlocal inside
        inside += 1
        if inside == 40:
            everybody.set()
        await everybody.wait()
        return answer()

    tally = LoadStats(200, 0.2)
    asyncio.run(
        drive(customers(nobody_is_served_first), Plan(200, 0.2, ORDINARY), tally, asyncio.Event())
    )
    assert (tally.sent, inside, tally.under_way, tally.all_answered) == (40, 40, 0, True)


def test_a_customer_never_waits_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client has a connection for each purchase that may be under way; by default it would have 100."""
    everybody = asyncio.Event()
    inside = 0
    said = answer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal inside
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            field for field in head.lower().split(b"\r\n") if field.startswith(b"content-length:")
        )
        await reader.readexactly(int(length.partition(b":")[2]))
        inside += 1
        if inside == 120:
            everybody.set()
        await everybody.wait()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            % len(said.content)
            + said.content
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def run() -> LoadStats:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=200)
        monkeypatch.setattr(
            checkout_client,
            "CHECKOUT_URL",
            f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
        )
        tally = LoadStats(200, 0.6)
        async with server, checkout_client.client(traffic.CAP) as http:
            await drive(http, Plan(200, 0.6, ORDINARY), tally, asyncio.Event())
        return tally

    tally = asyncio.run(run())
    assert (tally.sent, tally.all_answered, dict(tally.unanswered)) == (120, True, {})


def test_latency_counts_from_the_schedule() -> None:
    """A customer who was let in late has waited too: that time is in the latency, and is reported."""
    tally = LoadStats(1, 1)
    tally.under_way = 1
    asyncio.run(
        traffic._customer(customers(at_once), tally, "ordinary", "o-1", time.monotonic() - 5)
    )
    assert tally.latencies["success", 200][0] >= 5
    assert tally.latest >= 5
    assert tally.under_way == 0


def test_too_many_under_way_are_not_sent() -> None:
    """Over the cap nobody is sent in, and everybody left out is counted."""
    nobody_else_comes = asyncio.Event()

    class Watched(Plan):
        def customers(self) -> Iterator[tuple[float, str, str]]:
            yield from super().customers()
            nobody_else_comes.set()

    async def hold(_request: httpx2.Request) -> httpx2.Response:
        await nobody_else_comes.wait()
        return answer()

    tally = LoadStats(200, 0.1)
    asyncio.run(drive(customers(hold), Watched(200, 0.1, ORDINARY, cap=3), tally, asyncio.Event()))
    assert (tally.sent, tally.not_sent, tally.all_answered) == (3, 17, False)
    assert sum(map(len, tally.latencies.values())) == 3


def test_a_stopped_run_waits_for_those_under_way() -> None:
    """After the stop nobody comes any more, and who is inside is still served and counted."""
    stop = asyncio.Event()

    async def stop_at_the_third(request: httpx2.Request) -> httpx2.Response:
        if b"traffic-0-2" in request.content:
            stop.set()
        return answer()

    tally = LoadStats(200, 3600)
    asyncio.run(drive(customers(stop_at_the_third), Plan(200, 3600, ORDINARY), tally, stop))
    assert 3 <= tally.sent < 200 * 3600
    assert (tally.under_way, tally.all_answered) == (0, True)


def test_no_answer_is_counted_with_its_reason() -> None:
    """A purchase without an answer is no latency but a count of its own."""

    async def broken(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    tally = LoadStats(100, 0.02)
    asyncio.run(drive(customers(broken), Plan(100, 0.02, ORDINARY), tally, asyncio.Event()))
    assert (tally.sent, tally.errors, tally.all_answered, len(tally.latencies)) == (2, 2, False, 0)
    assert "refused" in next(iter(tally.unanswered))


REPORT = """\
outcome          status  count  share  p50 s  p95 s  p99 s  max s
success             200      2  50.0%  0.200  0.300  0.300  0.300
gateway_timeout     500      1  25.0%  0.100  0.100  0.100  0.100
unanswered                   1  25.0%
all answers                  3  75.0%  0.200  0.300  0.300  0.300

Sent 4 in 2.0 s: 2.00/s of 2/s wanted; latest start 3 ms late.
Not sent: 5, because too many were under way.
Unanswered: 1, \\x1b[2J[red]gone[/]
To see why the last one failed: demo follow --last-error
"""


def tally_of_four() -> LoadStats:
    """Two successes, a fault and one without an answer."""
    tally = LoadStats(2, 2, began=10.0, ended=12.0, sent=4, not_sent=5, latest=0.003)
    for latency in (0.2, 0.3):
        tally.answered(bought(), latency)
    tally.answered(bought(outcome="gateway_timeout", status=500), 0.1)
    tally.unanswered["\x1b[2J[red]gone[/]"] += 1
    return tally


def test_the_report_reads_at_80_columns() -> None:
    """Each outcome has its count, share and latencies; what was not sent or not answered is named; it is only text."""
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as shown:
        tally_of_four().report(console)
    assert "\n".join(each.rstrip() for each in shown.get().split("\n")) == REPORT


def test_the_line_says_where_we_are() -> None:
    """One line of at most 80 characters: time, sent, rate, under way, errors, percentiles."""
    assert (
        str(tally_of_four().line())
        == "2 of 2 s  sent 4 (2.0/s)  under way 0  errors 2  p50 0.20 s  p95 0.30 s"
    )
    assert str(LoadStats(5, 60).line()) == "0 of 60 s  sent 0 (0.0/s)  under way 0  errors 0"


def run(monkeypatch: pytest.MonkeyPatch, handler: Handler, rate: float, duration: str) -> int:
    """The exit code of the command against a shop that lives in ``handler``."""
    monkeypatch.setattr(checkout_client, "client", lambda _connections: customers(handler))
    return asyncio.run(traffic.traffic(rate, duration))


def test_the_command_reports(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When all are answered it prints the report, plain in a pipe, and ends with 0."""
    assert run(monkeypatch, at_once, 100, "50ms") == 0
    out, err = capsys.readouterr()
    assert "Sent 5 in 0." in out
    assert "\x1b" not in out
    assert not err


def test_ctrl_c_still_reports(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C ends an hour of traffic at once, serves who is inside, and prints the report."""

    async def interrupt_at_the_third(request: httpx2.Request) -> httpx2.Response:
        if b"traffic-0-2" in request.content:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(0)
        return answer()

    assert run(monkeypatch, interrupt_at_the_third, 100, "1h") == 0
    assert re.search(r"^Sent [0-9]{1,4} in", capsys.readouterr().out, re.MULTILINE)


def test_a_second_ctrl_c_leaves_those_inside(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second Ctrl-C waits for nobody; who is left counts as unanswered, and the command ends with 1."""

    async def never(request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            return answer()
        loop = asyncio.get_running_loop()
        for _ in range(2):
            loop.call_soon(signal.raise_signal, signal.SIGINT)
        await asyncio.Event().wait()
        return answer()

    assert run(monkeypatch, never, 100, "1h") == 1
    assert re.search(r"^Unanswered: [0-9]+, left behind$", capsys.readouterr().out, re.MULTILINE)


def test_a_closed_shop_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a shop nothing is sent: one line on stderr names it, and the command ends with 1."""

    async def closed(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    assert run(monkeypatch, closed, 5, "60s") == 1
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert "refused (is it up? see: demo status)" in err


def test_bad_options_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A bad rate, duration or mix ends with 2 and one line on stderr, before anybody is asked."""
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
