"""Keeps the alerts that fire, as Alertmanager's webhook reports them."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

MAX_ALERTS = 50
MAX_KEY_LENGTH = 1000


@dataclass(frozen=True)
class Alert:
    """A firing alert.

    Attributes:
        key: A digest of its labels; alerts with the same name have different keys.
        since: When it began to fire, in seconds since the epoch; 0 when that is unknown.
    """

    key: str
    name: str
    severity: str
    summary: str
    since: float


class FiringAlerts:
    """The alerts that fire, at most ``MAX_ALERTS``."""

    def __init__(self) -> None:
        self._by_labels: dict[str, Alert] = {}

    def list(self) -> list[Alert]:
        """Return the alerts, oldest report first."""
        return list(self._by_labels.values())

    def receive(self, payload: dict[str, Any]) -> None:
        """Take over a payload of Alertmanager's webhook; a resolved alert is removed.

        Raises:
            KeyError, TypeError, AttributeError: The payload has another shape.
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
        since=_timestamp(str(alert.get("startsAt", ""))),
    )


def _timestamp(text: str) -> float:
    """Return an RFC 3339 time in seconds since the epoch; 0 when it is invalid."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0
