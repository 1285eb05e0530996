"""Tempo writes a trace to disk later than the exports of its spans, and we wait that long."""

from pathlib import Path

import yaml

from tests.real_collector import collector_config
from three_pillar_demo.load.traffic import parse_duration
from three_pillar_demo.trace_view.gather import SEARCH_TIMEOUT_S
from three_pillars.variables import OpenTelemetryVariables

LIVE_STORE = yaml.safe_load(Path("config/tempo.yaml").read_text())["live_store"]
IDLE_S = parse_duration(LIVE_STORE["max_trace_idle"])
CHECK_PERIOD_S = parse_duration(LIVE_STORE["flush_check_period"])
EXPORT_INTERVAL_S = OpenTelemetryVariables.model_fields["bsp_schedule_delay"].default / 1000
QUEUE = collector_config()["exporters"]["otlp_http/tempo"]["sending_queue"]
FLUSH_TIMEOUT_S = parse_duration(QUEUE["batch"]["flush_timeout"])
STALL_S = 0.5
"""How much later than usual an export may be on a busy machine, in seconds."""


def test_two_exports_of_a_service_are_written_together() -> None:
    """Spans that a service sends with its next export arrive before Tempo takes a trace as idle."""
    assert IDLE_S > EXPORT_INTERVAL_S + FLUSH_TIMEOUT_S + STALL_S


def test_a_search_lasts_until_a_new_trace_can_be_found() -> None:
    """``demo follow --last-error`` waits until a failure that has just ended can be found."""
    found_after_s = EXPORT_INTERVAL_S + FLUSH_TIMEOUT_S + IDLE_S + CHECK_PERIOD_S
    assert found_after_s + 2 * STALL_S < SEARCH_TIMEOUT_S
