"""A trip planner with the three pillars, which calls itself for the weather.

Run it with ``uvicorn app:app --port 8100``, and ask for ``http://127.0.0.1:8100/trips/lisbon``.
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
    """Open the HTTP client; each of its calls gets a span and carries the trace on."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        app.state.http = instrument_client(client)
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/weather/{city}")
async def weather(city: str) -> dict[str, str]:
    """Return the weather, which is always the same."""
    return {"city": city, "sky": "clear"}


@app.get("/trips/{city}")
async def trip(city: str) -> dict[str, str]:
    """Plan a trip; the log record gets the trace id of this request."""
    response = await app.state.http.get(f"{WEATHER_URL}/{city}")
    sky = response.json()["sky"]
    log.info("trip planned", city=city, sky=sky)
    return {"city": city, "advice": f"The sky over {city} is {sky}: go."}


# After all routes. The network is the one that the calls to itself come from.
install(app, ServiceResource("trips", version="1.0.0"), trusted_networks="127.0.0.0/8")
