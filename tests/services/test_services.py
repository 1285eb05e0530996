"""Both services as real processes on ports of their own: workers, a Collector that is there or not, SIGTERM."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.processes import NOTHING_BUT_THE_FLUSH, Sink, serve, shop, wait_for


def test_the_shop_sells_without_a_collector(tmp_path: Path, closed_port: int) -> None:
    """With nobody there to take the telemetry customers notice nothing, and SIGTERM still ends each service in 10 s."""
    with shop(
        tmp_path, f"http://127.0.0.1:{closed_port}", OTEL_METRIC_EXPORT_INTERVAL="100"
    ) as services:
        outcomes = [services[0].post("/checkout").json()["outcome"]]
        wait_for(
            "a word about it",
            lambda: any("does not take telemetry" in line["event"] for line in services[0].lines()),
        )
        outcomes += [services[0].post("/checkout").json()["outcome"] for _ in range(4)]
        assert outcomes == ["success"] * 5
        with ThreadPoolExecutor(2) as both:
            list(both.map(lambda service: service.stop(10), services))
        for service in services:
            assert sum("http.response.status_code" in line for line in service.lines()) == 5


def test_the_last_request_is_flushed(tmp_path: Path, sink: Sink) -> None:
    """On SIGTERM everything of the request just answered reaches the Collector within 5 s: spans, lines and counts."""
    with shop(tmp_path, sink.url, **NOTHING_BUT_THE_FLUSH) as (checkout, payment):
        trace_id = checkout.post("/checkout").json()["trace_id"]
        assert not sink.spans
        checkout.stop(5)
        payment.stop(5)
    assert sorted(sink.spans) == [("checkout", trace_id)] * 3 + [("payment", trace_id)]
    assert sorted(sink.lines) == [("checkout", trace_id), ("payment", trace_id)]
    assert (sink.counted("checkout"), sink.counted("payment")) == (1, 1)


def test_two_workers_count_together_exactly(tmp_path: Path, sink: Sink) -> None:
    """With two workers each, the counts of all instances add up to the purchases made, the last ones included."""
    often = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_METRIC_EXPORT_INTERVAL": "600000"}
    bought = 0
    with shop(tmp_path, sink.url, CHECKOUT_WORKERS="2", PAYMENT_WORKERS="2", **often) as (
        checkout,
        payment,
    ):

        def everybody_worked() -> bool:
            nonlocal bought
            with ThreadPoolExecutor(8) as customers:
                answers = list(customers.map(lambda _: checkout.post("/checkout"), range(16)))
            assert [answer.status_code for answer in answers] == [200] * 16
            bought += 16
            return all(len(sink.instances[service]) == 2 for service in ("checkout", "payment"))

        wait_for("both workers of both services to have served", everybody_worked)
        everybody_worked()
        checkout.stop(10)
        payment.stop(10)
    assert (sink.counted("checkout"), sink.counted("payment")) == (bought, bought)
    assert (len(sink.spans), len(sink.lines)) == (4 * bought, 2 * bought)


def test_an_order_has_one_fate(tmp_path: Path, closed_port: int) -> None:
    """The same order id and seed meet the same outcome in any process; another seed is another run."""
    collector, chance = f"http://127.0.0.1:{closed_port}", {"PAYMENT_FAILURE_RATE": "0.5"}
    charge: dict[str, object] = {"amount": "1", "currency": "EUR", "card": "ordinary"}
    fates = []
    for seed in ("7", "7", "8"):
        with serve("payment", tmp_path, collector, PAYMENT_SEED=seed, **chance) as payment:
            fates.append(
                [
                    payment.post("/charges", charge | {"order_id": f"order-{n}"}).status_code
                    for n in range(20)
                ]
            )
            payment.process.kill()
    assert fates[0] == fates[1]
    assert set(fates[0]) == {200, 504}
    assert fates[0] != fates[2]
