"""Keeps the firing alerts that Alertmanager's webhook has reported."""

import hashlib
import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from three_pillar_demo.web import runbook

MAX_ALERTS = 50
"""The number of firing alerts that are kept; further alerts are ignored."""
REPEAT_INTERVAL_S = 60.0
"""The ``repeat_interval`` of config/alertmanager.yml, in seconds; a test compares the two."""
OVER_AFTER_S = 3 * REPEAT_INTERVAL_S
"""How long after its last report an alert counts as over, in seconds."""
FORGOTTEN_AFTER_S = 15 * REPEAT_INTERVAL_S
"""How long after its last report an alert is listed, in seconds."""
MAX_KEY_LENGTH = 1000
"""The number of characters, from an alert's labels as JSON, that identify the alert.

Alerts whose labels are equal in these characters count as one alert.
"""


@dataclass(frozen=True)
class Alert:
    """A firing alert.

    Attributes:
        key: A digest of the alert's labels, which identifies the alert on the page.
        name: The label ``alertname``.
        severity: The label ``severity``.
        summary: The annotation ``summary``.
        runbook: The path of the page with the section that the annotation ``runbook`` names; "" if
            there is no such page.
        since: When the alert began to fire, in seconds since the epoch; 0 when this is unknown.
        reported: When Alertmanager has reported it last, in seconds since the epoch.
    """

    key: str
    name: str
    severity: str
    summary: str
    runbook: str
    since: float
    reported: float

    @property
    def is_over(self) -> bool:
        """Whether Alertmanager has ceased to repeat the alert, without saying that it is resolved.

        That happens if Alertmanager has lost its state, or the message was lost.
        """
        return time.time() - self.reported > OVER_AFTER_S


class FiringAlerts:
    """The list of firing alerts, at most ``MAX_ALERTS``."""

    def __init__(self) -> None:
        self._by_labels: dict[str, Alert] = {}

    def list(self) -> list[Alert]:
        """Return the firing alerts, sorted by the time of their last report, earliest first.

        Alerts that are over are returned until ``FORGOTTEN_AFTER_S``.
        """
        earliest = time.time() - FORGOTTEN_AFTER_S
        self._by_labels = {
            labels: alert for labels, alert in self._by_labels.items() if alert.reported >= earliest
        }
        return list(self._by_labels.values())

    def receive(self, payload: dict[str, Any]) -> None:
        """Add the firing alerts of a webhook payload to the list, and remove the resolved ones.

        Raises:
            KeyError, TypeError, AttributeError: ``payload`` is not from Alertmanager's webhook.
        """
        for alert in payload["alerts"][:MAX_ALERTS]:
            labels = json.dumps(alert["labels"], sort_keys=True)[:MAX_KEY_LENGTH]
            self._by_labels.pop(labels, None)
            if alert["status"] == "firing" and len(self._by_labels) < MAX_ALERTS:
                self._by_labels[labels] = _parse_alert(alert, labels)


def _parse_alert(alert: dict[str, Any], labels: str) -> Alert:
    annotations = alert.get("annotations", {})
    return Alert(
        key=hashlib.sha256(labels.encode()).hexdigest()[:12],
        name=str(alert["labels"].get("alertname", "?")),
        severity=str(alert["labels"].get("severity", "")),
        summary=str(annotations.get("summary", "")),
        runbook=runbook.address(str(annotations.get("runbook", ""))),
        since=_timestamp(str(alert.get("startsAt", ""))),
        reported=time.time(),
    )


def _timestamp(text: str) -> float:
    """Convert an RFC 3339 time to seconds since the epoch; return 0 when it is invalid."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0
