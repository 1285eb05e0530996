"""A Flask shop that knows nothing of OpenTelemetry: run it under ``opentelemetry-instrument``.

``flask run`` does not read ``PORT``, so give it the same port by ``--port``.

A request to ``/buy/ITEM`` asks the stock service, by default this program itself, for
``/stock/ITEM``. The item ``unicorn`` makes the stock service raise an exception.
"""

import os

import requests
from flask import Flask

PORT = os.environ.get("PORT", "8100")
STOCK_URL = os.environ.get("STOCK_URL", f"http://127.0.0.1:{PORT}")
TIMEOUT_S = 30
app = Flask(__name__)


@app.get("/buy/<item>")
def buy(item: str) -> dict[str, str]:
    """Buy ``item``; an error of the stock service becomes an error of this service."""
    response = requests.get(f"{STOCK_URL}/stock/{item}", timeout=TIMEOUT_S)
    response.raise_for_status()
    return {"bought": item}


@app.get("/stock/<item>")
def stock(item: str) -> dict[str, int]:
    """Return how many of ``item`` are left, and log a warning, because it is the last one."""
    if item == "unicorn":
        raise ConnectionError("the stock database is away")
    app.logger.warning("only 1 %s left", item)
    return {"left": 1}
