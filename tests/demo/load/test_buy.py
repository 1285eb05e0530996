"""Tests for ``demo checkout``: its output for each answer, and when checkout does not answer."""

import asyncio

import httpx2
import pytest

from three_pillar_demo.load import buy, checkout_client

TRACE = "0af7651916cd43dd8448eb211c80319c"


def checkout(
    monkeypatch: pytest.MonkeyPatch, card: str, answer: httpx2.Response | Exception
) -> int:
    """Run the command against a checkout that sends ``answer``; return its exit code."""

    async def respond(request: httpx2.Request) -> httpx2.Response:
        assert request.url.path == "/checkout"
        if isinstance(answer, Exception):
            raise answer
        return answer

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(respond), base_url="http://shop")
    monkeypatch.setattr(checkout_client, "client", lambda: http)
    return asyncio.run(buy.checkout(card))


def test_an_answer_is_printed_with_the_next_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any answer is printed with its trace id and the next command, and the exit code is 0."""
    body = {"outcome": "declined", "detail": "Card declined", "order_id": "o-1", "trace_id": TRACE}
    assert checkout(monkeypatch, "declined", httpx2.Response(402, json=body)) == 0
    out, err = capsys.readouterr()
    rows = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert rows.pop("took").endswith(" s")
    assert rows == {
        "outcome": "declined",
        "answer": "402 Card declined",
        "order": "o-1",
        "trace": TRACE,
        "next": f"demo follow {TRACE}",
    }
    assert not err


def test_control_characters_are_escaped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Markup and control characters in an answer are printed as text."""
    body = {
        "outcome": "[red]x",
        "message": "\x1b[2J\n[b]y",
        "order_id": "\x07",
        "trace_id": "\x1b]0;t",
    }
    assert checkout(monkeypatch, "ordinary", httpx2.Response(200, json=body)) == 0
    out = capsys.readouterr().out
    assert r"200 \x1b[2J [b]y" in out
    assert "[red]x" in out
    assert not {"\x1b", "\x07"} & set(out)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx2.ConnectError("refused"), "refused (is it up? see: demo status)"),
        (httpx2.ReadTimeout(""), "ReadTimeout (is it up? see: demo status)"),
        (httpx2.Response(200, text="<html>"), "answered 200 without outcome and trace id"),
        (httpx2.Response(200, json=["no", "object"]), "answered 200 without outcome and trace id"),
        (httpx2.Response(502, json={"outcome": "x"}), "answered 502 without outcome and trace id"),
    ],
)
def test_a_missing_answer_is_one_error_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: httpx2.Response | Exception,
    reason: str,
) -> None:
    """Without a usable answer, the command prints one line on stderr and the exit code is 1."""
    assert checkout(monkeypatch, "ordinary", answer) == 1
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("demo checkout: checkout at http://")
    assert reason in err
    assert err.count("\n") == 1
