"""Example application: a trip planner that records traces, logs and metrics with `three_pillars`.

A request to ``/trips/{city}`` makes the application call its own route ``/weather/{city}``. Run it
as README.md says, and request ``http://127.0.0.1:8100/trips/lisbon``.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import structlog
from fastapi import FastAPI

from three_pillars import ServiceResource, install, instrument_client

WEATHER_URL = os.environ.get("WEATHER_URL", "http://127.0.0.1:8100/weather")
log = structlog.get_logger()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open an HTTP client whose calls get a CLIENT span and send the header ``traceparent``."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        app.state.http = instrument_client(client)
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/weather/{city}")
async def weather(city: str) -> dict[str, str]:
    """Return the weather in ``city``; the sky is always clear."""
    return {"city": city, "sky": "clear"}


@app.get("/trips/{city}")
async def trip(city: str) -> dict[str, str]:
    """Return advice about a trip to ``city``; log the trip with the trace id of the request."""
    response = await app.state.http.get(f"{WEATHER_URL}/{city}")
    sky = response.json()["sky"]
    log.info("trip planned", city=city, sky=sky)
    return {"city": city, "advice": f"The sky over {city} is {sky}: go."}


# After all routes. The network is the one that the calls to itself come from.
install(app, ServiceResource("trips", version="1.0.0"), trusted_networks="127.0.0.0/8")
