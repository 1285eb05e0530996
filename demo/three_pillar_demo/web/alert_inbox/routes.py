"""The HTTP routes of the alert inbox: Alertmanager's webhook, and the forms of a drill."""

import asyncio
import json

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from three_pillar_demo.web.alert_inbox import drill_view
from three_pillar_demo.web.alert_inbox.alerts import FiringAlerts
from three_pillar_demo.web.alert_inbox.drill_start import DrillStarter
from three_pillar_demo.web.forms import read_body, read_form, redirect_to_page

MAX_ALERTS_BYTES = 256 * 1024
"""The largest body of a webhook request, in bytes."""


def add_alert_routes(app: FastAPI, firing_alerts: FiringAlerts) -> None:
    """Add the route ``POST /alerts``, which updates ``firing_alerts``."""

    @app.post("/alerts", status_code=204)
    async def receive_alerts(request: Request) -> Response:
        body = await read_body(request, MAX_ALERTS_BYTES)
        try:
            firing_alerts.receive(json.loads(body))
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = type(error).__name__
            raise ValueError(f"the body is no Alertmanager webhook payload ({reason})") from error
        return Response(status_code=204)


def add_drill_routes(app: FastAPI, drill_starter: DrillStarter) -> None:
    """Add the route ``POST /drill``, which starts and ends a drill, and takes answers."""

    @app.post("/drill")
    async def submit_drill_form(request: Request) -> Response:
        form = await read_form(request)
        await asyncio.to_thread(drill_view.submit, form, drill_starter, request)
        return redirect_to_page(request)
