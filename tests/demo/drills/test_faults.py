"""What a drill turns on in a service: only at home, only by this user's own file, and only for as long as somebody plays."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx2
import pytest

from services.common import active_faults
from services.payment.faults import Faults
from tests.conftest import Build, about
from tests.processes import Sink, shop


@pytest.fixture
def control(tmp_path: Path) -> Path:
    """A drill's file, as a player writes it."""
    path = tmp_path / "payment.fault"
    path.touch(0o600)
    path.write_text('{"failure_rate": 1.0}')
    return path


def test_the_file_is_believed(control: Path) -> None:
    """A fresh file of this user's own says what is broken."""
    assert active_faults.faults(str(control)) == {"failure_rate": 1.0}


def test_without_a_file_nothing_is_broken(tmp_path: Path) -> None:
    """No name, no file and a file that cannot be read are no fault."""
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("[1]")
    assert [
        active_faults.faults(each)
        for each in ("", str(tmp_path / "none"), str(tmp_path), str(rubbish))
    ] == [{}] * 4


@pytest.mark.parametrize("mode", [0o622, 0o606, 0o660])
def test_a_file_that_others_can_write_is_refused(control: Path, mode: int) -> None:
    """Whoever else may write it may not break the shop."""
    control.chmod(mode)
    assert active_faults.faults(str(control)) == {}


def test_a_link_is_refused(control: Path, tmp_path: Path) -> None:
    """A link could lead to somebody else's file."""
    link = tmp_path / "link"
    link.symlink_to(control)
    assert active_faults.faults(str(link)) == {}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_somebody_elses_file_is_refused(control: Path) -> None:
    """A file of another user breaks nothing."""
    os.chown(control, 12345, -1)
    assert active_faults.faults(str(control)) == {}


def test_a_fault_ends_with_its_player(control: Path) -> None:
    """A file that nobody has touched for the length of the lease is off."""
    past = time.time() - active_faults.LEASE - 0.1
    os.utime(control, (past, past))
    assert active_faults.faults(str(control)) == {}


@pytest.mark.parametrize("service", ["payment", "checkout"])
def test_drills_are_refused_where_strangers_can_come(service: str, tmp_path: Path) -> None:
    """A service that listens beyond loopback does not start with a drill's file, and says why."""
    name = service.upper()
    env = {**os.environ, f"{name}_BIND": "0.0.0.0", f"{name}_DRILLS": str(tmp_path / "x")}  # noqa: S104
    done = subprocess.run(
        [sys.executable, "-m", f"services.{service}"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "drills are played on loopback only" in done.stderr


def test_images_know_of_no_drills() -> None:
    """Neither the image nor compose names a drill's file, so there is nothing to write to."""
    for path in ("Dockerfile", "docker-compose.yaml"):
        assert "DRILLS" not in Path(path).read_text()


def test_payment_breaks_as_the_file_says(build: Build, control: Path) -> None:
    """Payment takes what the file says over its settings, for as long as it is there."""
    house = build(drills=str(control))
    assert house.ask().status_code == 500
    control.unlink()
    assert house.ask().status_code == 200


def test_one_network_is_slow(build: Build, control: Path) -> None:
    """A slow network's cards wait ten times as long, others do not, and the span names the network and not the card."""
    control.write_text(
        json.dumps({"slow_network": "visa", "latency_min": 0.02, "latency_max": 0.02})
    )
    house = build(drills=str(control))
    took = {}
    for card in ("visa-7", "amex-7", "4711"):
        house.ask(
            path="/charges",
            json={"order_id": card, "amount": "9.00", "currency": "EUR", "card": card},
        )
        span = house.spans[-1]
        took[about(span)["card.network"]] = (span.end_time or 0) - (span.start_time or 0)
        assert card not in str(about(span))
    assert took["visa"] > 2 * max(took["amex"], took["other"])


def test_a_large_amount_crashes_a_version() -> None:
    """What a second version cannot take is a crash, and smaller orders go through."""
    assert Faults(crash_over=500).crash_over == 500
    with pytest.raises(ValueError, match="crash_over"):
        Faults(crash_over=-1)


def test_checkout_breaks_as_the_file_says(tmp_path: Path, sink: Sink) -> None:
    """Eager retries, a call that blocks, a metric with a series for each order: on with the file, and gone with it."""
    control = tmp_path / "checkout.fault"
    with shop(
        tmp_path, sink.url, CHECKOUT_DRILLS=str(control), OTEL_METRIC_EXPORT_INTERVAL="600000"
    ) as (checkout, payment):
        control.touch(0o600)
        control.write_text(json.dumps({"attempts": 3, "block": 0.3, "counts": True}))
        began = time.monotonic()
        said = checkout.post("/checkout", {"card": "gateway-timeout", "order_id": "broken-1"})
        assert (said.status_code, time.monotonic() - began > 0.3) == (500, True)
        calls = Counter(
            line["order.id"] for line in payment.lines() if "http.response.status_code" in line
        )
        assert calls == {"broken-1": 3}
        os.utime(control)
        assert 'checkout_orders_total{order_id="broken-1"}' in metrics(checkout.url)
        control.unlink()
        checkout.post("/checkout", {"card": "gateway-timeout", "order_id": "whole-1"})
        calls = Counter(
            line["order.id"] for line in payment.lines() if "http.response.status_code" in line
        )
        assert calls == {"broken-1": 3, "whole-1": 1}
        assert "order_id=" not in metrics(checkout.url)


def metrics(url: str) -> str:
    """What checkout shows of itself."""
    return httpx2.get(f"{url}/metrics", trust_env=False, timeout=20).text
