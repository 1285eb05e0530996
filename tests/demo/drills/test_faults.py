"""A fault file works only on loopback, if the same user owns it and it was touched recently."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest

from services.common import active_faults
from services.payment import faults
from services.payment.faults import Faults
from tests.conftest import ShopFactory
from tests.in_memory_shop import attributes_of
from tests.processes import InMemoryCollector, Service, running_shop


@pytest.fixture
def fault_file(tmp_path: Path) -> Path:
    """Return a fault file as a drill writes it; it makes every charge fail."""
    path = tmp_path / "payment.fault"
    path.touch(0o600)
    path.write_text('{"failure_rate": 1.0}')
    return path


def test_a_fresh_file_is_read(fault_file: Path) -> None:
    """A fault file of this user that was just written is read."""
    assert active_faults.active_faults(str(fault_file)) == {"failure_rate": 1.0}


def test_without_a_valid_file_there_is_no_fault(tmp_path: Path) -> None:
    """An empty path, a missing file, a folder and a file without a JSON object mean no fault."""
    invalid = tmp_path / "invalid"
    invalid.write_text("[1]")
    paths = ("", str(tmp_path / "none"), str(tmp_path), str(invalid))
    assert [active_faults.active_faults(path) for path in paths] == [{}, {}, {}, {}]


@pytest.mark.parametrize("mode", [0o622, 0o606, 0o660])
def test_a_file_that_others_can_write_is_ignored(fault_file: Path, mode: int) -> None:
    """A file that the group or all others can write turns no fault on."""
    fault_file.chmod(mode)
    assert active_faults.active_faults(str(fault_file)) == {}


def test_a_symbolic_link_is_ignored(fault_file: Path, tmp_path: Path) -> None:
    """A link is ignored, because it could lead to another user's file."""
    link = tmp_path / "link"
    link.symlink_to(fault_file)
    assert active_faults.active_faults(str(link)) == {}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_another_users_file_is_ignored(fault_file: Path) -> None:
    """A file that belongs to another user turns no fault on."""
    os.chown(fault_file, 12345, -1)
    assert active_faults.active_faults(str(fault_file)) == {}


def test_an_expired_file_is_ignored(fault_file: Path) -> None:
    """A file that was not touched for ``LEASE_S`` seconds turns no fault on."""
    past = time.time() - active_faults.LEASE_S - 0.1
    os.utime(fault_file, (past, past))
    assert active_faults.active_faults(str(fault_file)) == {}


@pytest.mark.parametrize("service", ["payment", "checkout"])
def test_drills_require_loopback(service: str, tmp_path: Path) -> None:
    """A service that listens beyond loopback refuses to start with a fault file, and says why."""
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
    assert "requires a loopback" in done.stderr


def test_images_have_no_fault_file() -> None:
    """Neither the image nor the compose file names a fault file, so faults cannot be turned on."""
    for path in ("Dockerfile", "docker-compose.yaml"):
        assert "DRILLS" not in Path(path).read_text()


def test_the_fault_file_overrides_payments_settings(
    build_shop: ShopFactory, fault_file: Path
) -> None:
    """While the fault file exists, payment uses its values in place of the settings."""
    shop = build_shop(drills=str(fault_file))
    assert shop.request().status_code == 500
    fault_file.unlink()
    assert shop.request().status_code == 200


def test_one_card_network_is_slow(
    build_shop: ShopFactory, fault_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cards of the slow network take ten times as long, and the span names only the network."""
    fault_file.write_text(
        json.dumps({"slow_network": "visa", "latency_min": 0.02, "latency_max": 0.02})
    )
    latencies_s = []

    async def sleep(seconds: float) -> None:
        latencies_s.append(seconds)
        await asyncio.sleep(seconds)

    monkeypatch.setattr(faults, "asyncio", SimpleNamespace(sleep=sleep))
    shop = build_shop(drills=str(fault_file))
    networks = []
    for card in ("visa-7", "amex-7", "4711"):
        shop.request(
            path="/charges",
            json={"order_id": card, "amount": "9.00", "currency": "EUR", "card": card},
        )
        span = shop.spans[-1]
        networks.append(attributes_of(span)["card.network"])
        # A busy machine may take longer.
        assert (span.end_time or 0) - (span.start_time or 0) >= latencies_s[-1] * 1e9
        assert card not in str(attributes_of(span))
    assert networks == ["visa", "amex", "other"]
    assert latencies_s == pytest.approx([0.2, 0.02, 0.02])


def test_the_crash_threshold_is_positive() -> None:
    """The setting ``crash_over``, the amount over which a charge crashes, must be positive."""
    assert Faults(crash_over=500).crash_over == 500
    with pytest.raises(ValueError, match="crash_over"):
        Faults(crash_over=-1)


def test_the_fault_file_changes_checkout(tmp_path: Path, collector: InMemoryCollector) -> None:
    """Only while the file exists, checkout retries, blocks, and has a series for each order."""
    fault_file = tmp_path / "checkout.fault"
    with running_shop(
        tmp_path,
        collector.url,
        CHECKOUT_DRILLS=str(fault_file),
        OTEL_METRIC_EXPORT_INTERVAL="600000",
    ) as (checkout, payment):
        fault_file.touch(0o600)
        fault_file.write_text(json.dumps({"attempts": 3, "block": 0.3, "order_id_label": True}))
        began = time.monotonic()
        response = checkout.post("/checkout", {"card": "gateway-timeout", "order_id": "broken-1"})
        assert response.status_code == 500
        assert time.monotonic() - began > 0.3
        assert calls_by_order(payment) == {"broken-1": 3}
        os.utime(fault_file)
        assert 'checkout_orders_total{order_id="broken-1"}' in metrics(checkout.url)
        fault_file.unlink()
        checkout.post("/checkout", {"card": "gateway-timeout", "order_id": "whole-1"})
        assert calls_by_order(payment) == {"broken-1": 3, "whole-1": 1}
        assert "order_id=" not in metrics(checkout.url)


def calls_by_order(payment: Service) -> Counter[str]:
    """Return the number of requests that payment has answered, by order id."""
    return Counter(
        line["order.id"] for line in payment.lines() if "http.response.status_code" in line
    )


def metrics(url: str) -> str:
    """Return the text of ``/metrics`` of the service at ``url``."""
    return httpx2.get(f"{url}/metrics", trust_env=False, timeout=20).text
