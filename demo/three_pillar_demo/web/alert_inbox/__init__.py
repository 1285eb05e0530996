"""The pager: what Alertmanager delivers, and the drill that is played, with its clock, its hints and a form for the answer."""

import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from three_pillar_demo.drills import session
from three_pillar_demo.drills.catalogue import WHY, Drill, DrillError, load

SHOWN_SECONDS = 600.0
"""How long a drill that is over is still shown."""
MAX_BODY, MAX_ALERTS = 256 * 1024, 50


@dataclass(frozen=True)
class Alert:
    """One that fires, as Alertmanager says."""

    name: str
    severity: str
    summary: str
    since: float
    """Seconds since the epoch; 0 where it did not say."""
    key: str
    """Another one for each that fires; several may have one name."""


@dataclass(frozen=True)
class Shown:
    """What there is to show; ``notes`` and ``drill`` of one that is played, or was a moment ago."""

    alerts: list[Alert]
    notes: session.DrillSession | None = None
    drill: Drill | None = None

    @property
    def over(self) -> list[str]:
        """The report of a drill that is over."""
        return (
            session.report(self.notes, self.drill)
            if self.notes and self.drill and self.notes.how
            else []
        )

    @property
    def graded(self) -> list[str]:
        """What the newest answer was worth, part by part."""
        if not self.notes or not self.drill or not self.notes.answers or self.notes.how:
            return []
        return session.grade(self.drill.answer, self.notes.answers[-1]).said

    @property
    def clock(self) -> str:
        """How long somebody has been at it."""
        minutes, seconds = divmod(int(self.notes.seconds if self.notes else 0), 60)
        return f"{minutes}:{seconds:02}"


class Pager:
    """Hears of alerts, and looks at the notes of drills."""

    def __init__(self) -> None:
        """Nothing rings."""
        self.alerts: dict[str, Alert] = {}
        self.why = WHY

    def look(self) -> Shown:
        """What there is now; a drill whose file is wrong is not shown."""
        notes, alerts = session.last(), list(self.alerts.values())
        if notes is None or not (
            notes.living or (notes.ended and time.time() - notes.ended < SHOWN_SECONDS)
        ):
            return Shown(alerts)
        try:
            return Shown(alerts, notes, load(notes.drill))
        except DrillError:
            return Shown(alerts)

    def deliver(self, said: dict[str, Any]) -> None:
        """Take what Alertmanager posts: those that fire ring until it says that they are resolved.

        Raises:
            KeyError, TypeError, AttributeError: That is not what it posts.
        """
        for each in said["alerts"][:MAX_ALERTS]:
            labels, about = each["labels"], each.get("annotations", {})
            key = json.dumps(labels, sort_keys=True)[:1000]
            self.alerts.pop(key, None)
            if each["status"] == "firing" and len(self.alerts) < MAX_ALERTS:
                name, severity, summary = (
                    labels.get("alertname", "?"),
                    labels.get("severity", ""),
                    about.get("summary", ""),
                )
                since, digest = (
                    _moment(str(each.get("startsAt", ""))),
                    hashlib.sha256(key.encode()).hexdigest()[:12],
                )
                self.alerts[key] = Alert(str(name), str(severity), str(summary), since, digest)


def _moment(said: str) -> float:
    with suppress(ValueError, OverflowError):
        return datetime.fromisoformat(said).timestamp()
    return 0.0


def act(said: dict[str, str]) -> None:
    """Do what a form of the pager asks for.

    Raises:
        ValueError: That cannot be done; the text says why.
    """
    try:
        match said.get("do"):
            case "hint":
                session.hint()
            case "give-up":
                session.end("given up")
            case "answer":
                session.answer({part: said.get(part, "")[:60] for part in session.PARTS})
            case _:
                raise ValueError("a drill can be given a hint, an answer, or up")
    except DrillError as error:
        raise ValueError(str(error)) from error


def doors(
    app: FastAPI,
    form: Callable[[Request], Awaitable[dict[str, str]]],
    back: Callable[[Request], Response],
) -> Pager:
    """Add the pager's doors to the page: each does one thing, and leads ``back`` to where the visitor was."""
    pager = Pager()

    @app.post("/drill")
    async def drill(request: Request) -> Response:
        act(await form(request))
        return back(request)

    @app.post("/alerts", status_code=204)
    async def alerts(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY:
                raise HTTPException(413, f"Alerts have at most {MAX_BODY} bytes here.")
        try:
            pager.deliver(json.loads(body))
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"that is not what Alertmanager posts ({type(error).__name__})"
            ) from error
        return Response(status_code=204)

    return pager
