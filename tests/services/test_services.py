"""Both services as processes: with several workers, without a Collector, and after SIGTERM."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.processes import (
    NOTHING_BUT_THE_FLUSH,
    InMemoryCollector,
    running_shop,
    serve,
    wait_for,
)


def test_shop_works_without_a_collector(tmp_path: Path, closed_port: int) -> None:
    """Without a Collector purchases succeed, and SIGTERM ends each service within 10 s."""
    collector_url = f"http://127.0.0.1:{closed_port}"
    with running_shop(tmp_path, collector_url, OTEL_METRIC_EXPORT_INTERVAL="100") as services:
        checkout, _payment = services
        outcomes = [checkout.post("/checkout").json()["outcome"]]
        wait_for(
            "a line about the failed export",
            lambda: any("OTLP export to" in line["event"] for line in checkout.lines()),
        )
        outcomes += [checkout.post("/checkout").json()["outcome"] for _ in range(4)]
        assert outcomes == ["success"] * 5
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda service: service.stop(10), services))
        for service in services:
            assert sum("http.response.status_code" in line for line in service.lines()) == 5


def test_the_last_request_is_flushed(tmp_path: Path, collector: InMemoryCollector) -> None:
    """After SIGTERM a service sends the telemetry of its latest request and ends within 5 s."""
    with running_shop(tmp_path, collector.url, **NOTHING_BUT_THE_FLUSH) as (checkout, payment):
        trace_id = checkout.post("/checkout").json()["trace_id"]
        assert not collector.spans
        checkout.stop(5)
        payment.stop(5)
    assert sorted(collector.spans) == [("checkout", trace_id)] * 3 + [("payment", trace_id)]
    assert sorted(collector.lines) == [("checkout", trace_id), ("payment", trace_id)]
    assert (collector.counted("checkout"), collector.counted("payment")) == (1, 1)


def test_counts_of_several_workers_add_up(tmp_path: Path, collector: InMemoryCollector) -> None:
    """With two workers in each service, the counts of all workers add up to the purchases."""
    settings = {
        "CHECKOUT_WORKERS": "2",
        "PAYMENT_WORKERS": "2",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "600000",
    }
    purchases = 0
    with running_shop(tmp_path, collector.url, **settings) as (checkout, payment):

        def all_workers_have_served() -> bool:
            nonlocal purchases
            with ThreadPoolExecutor(8) as customers:
                responses = list(customers.map(lambda _: checkout.post("/checkout"), range(16)))
            assert [response.status_code for response in responses] == [200] * 16
            purchases += 16
            services = ("checkout", "payment")
            return all(len(collector.instances[service]) == 2 for service in services)

        wait_for("both workers of both services to have served", all_workers_have_served)
        all_workers_have_served()
        checkout.stop(10)
        payment.stop(10)
    assert collector.counted("checkout") == purchases
    assert collector.counted("payment") == purchases
    assert len(collector.spans) == 4 * purchases
    assert len(collector.lines) == 2 * purchases


def test_outcome_depends_on_order_id_and_seed(tmp_path: Path, closed_port: int) -> None:
    """Charges have the same outcomes in two processes with the same seed, not with another seed."""
    collector_url = f"http://127.0.0.1:{closed_port}"
    charge: dict[str, object] = {"amount": "1", "currency": "EUR", "card": "ordinary"}
    runs = []
    for seed in ("7", "7", "8"):
        settings = {"PAYMENT_SEED": seed, "PAYMENT_FAILURE_RATE": "0.5"}
        with serve("payment", tmp_path, collector_url, **settings) as payment:
            responses = [
                payment.post("/charges", charge | {"order_id": f"order-{number}"})
                for number in range(20)
            ]
            payment.process.kill()
        runs.append([response.status_code for response in responses])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 504}
    assert runs[0] != runs[2]
