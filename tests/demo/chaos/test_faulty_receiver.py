"""The receiver in front: hands on what it is sent, misbehaves as it is told, and sees how a sender takes that."""

import threading

import httpx2
import pytest

from tests.processes import Sink, wait_for
from three_pillar_demo.chaos.faulty_receiver import Answer, FaultyReceiver, behaviours


def post(front: FaultyReceiver, body: bytes = b"") -> httpx2.Response:
    """Send one batch of traces."""
    headers = {"content-type": "application/x-protobuf"}
    return httpx2.post(
        f"{front.url}/v1/traces", content=body, headers=headers, timeout=30, trust_env=False
    )


def test_it_hands_on(sink: Sink) -> None:
    """As long as it behaves well, the receiver behind it gets everything and its answer goes back."""
    with FaultyReceiver(sink.url) as front:
        assert post(front).status_code == 200
    assert [path for path, _ in sink.received] == ["/v1/traces"]


@pytest.mark.parametrize(
    ("manner", "status", "retry"), [("429", 429, "3"), ("503", 503, None), ("400", 400, None)]
)
def test_it_refuses(sink: Sink, manner: str, status: int, retry: str | None) -> None:
    """It answers as it is told, hands nothing on meanwhile, and behaves well again at once."""
    with FaultyReceiver(sink.url) as front:
        front.manner = manner
        refused = post(front)
        assert (refused.status_code, refused.headers.get("retry-after")) == (status, retry)
        assert not sink.received
        front.manner = "well"
        assert post(front).status_code == 200
    assert [each.status for each in front.answers] == [status, 200]


def test_it_accepts_and_never_answers(sink: Sink) -> None:
    """A sender waits until the manner changes, and then is cut off without an answer."""
    failed = list[Exception]()

    def send() -> None:
        try:
            post(front)
        except httpx2.HTTPError as error:
            failed.append(error)

    with FaultyReceiver(sink.url) as front:
        front.manner = "mute"
        sender = threading.Thread(target=send)
        sender.start()
        wait_for("the batch", lambda: front.answers)
        assert sender.is_alive()
        front.manner = "well"
        sender.join(30)
    assert len(failed) == 1
    assert not sink.received


def test_it_is_gone_as_the_one_behind_it(closed_port: int) -> None:
    """Where nobody is behind it, a sender gets no answer, as from a receiver that died."""
    with (
        FaultyReceiver(f"http://127.0.0.1:{closed_port}") as front,
        pytest.raises(httpx2.HTTPError),
    ):
        post(front)


def test_manners_of_a_sender() -> None:
    """A batch may come again after three seconds when a 429 asked for that, and never after a 400."""

    def at(moment: float, batch: bytes, status: int) -> Answer:
        return Answer(moment, batch, status)

    polite = [
        at(0, b"a", 429),
        at(1, b"b", 429),
        at(3.1, b"a", 200),
        at(4, b"b", 503),
        at(4.1, b"b", 200),
        at(5, b"c", 400),
    ]
    assert behaviours(polite) == []
    rude = [
        at(0, b"a", 429),
        at(1, b"a", 429),
        at(2, b"a", 200),
        at(5, b"c", 400),
        at(9, b"c", 400),
    ]
    assert behaviours(rude) == [
        "2 batches sent again sooner than Retry-After asked",
        "1 batches sent again after a 400",
    ]
