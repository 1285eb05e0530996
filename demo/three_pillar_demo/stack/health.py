"""Checks over the network whether the components of the running stack are healthy.

The checks work for a stack that ``demo up`` started, where all components are on loopback, and in
compose, where each component has a host name of its own.
"""

import asyncio
import os
import time
from urllib.parse import urlsplit

import httpx2

from three_pillar_demo.stack import ports, state
from three_pillar_demo.stack.component import variable_prefix
from three_pillar_demo.stack.components import MODES

TIMEOUT_S = 2.0
NO_ANSWER_IN_TIME = f"no answer within {TIMEOUT_S:g} s"
"""The problem of a component that has accepted the check, or not even that, and did not answer.

It may be busy rather than down: a service that is overloaded answers purchases, but late.
"""
EXIT_SHOWN_S = 600.0
GRAFANA = "grafana"


def addresses(mode: str) -> dict[str, str]:
    """Return the readiness URL of each component of ``mode``, by name.

    The mode ``compose`` has the components of the mode ``full``, and Grafana. An environment
    variable such as ``TEMPO_HOST`` contains the host of a component. If the variable is not set,
    the host is loopback.
    """
    components = MODES.get(mode, MODES["full"])
    urls = {
        component.name: component.ready_url_at(_host(component.name)) for component in components
    }
    # Compose always runs Grafana. The native list has it only where GRAFANA_HOME is set.
    if os.environ.get("GRAFANA_HOST"):
        urls[GRAFANA] = f"http://{_host(GRAFANA)}:{ports.GRAFANA.number}/api/health"
    return urls


async def problems(http: httpx2.AsyncClient, mode: str) -> dict[str, str]:
    """Return the problem of each component, by name; an empty string means healthy.

    Never raises.
    """
    urls = addresses(mode)
    texts = await asyncio.gather(*(_problem(http, url) for url in urls.values()))
    return dict(zip(urls, texts, strict=True))


def recent_exits() -> dict[str, str]:
    """Return how each component of the running stack has exited unexpectedly, by name.

    A text ends with the last log line. Components whose last exit is more than
    ``EXIT_SHOWN_S`` seconds ago are left out, unless they stay down.
    """
    run = state.running()
    if run is None:
        return {}
    texts = {}
    for name, exits in run.exits.items():
        if exits.gave_up or time.time() - exits.last_at < EXIT_SHOWN_S:
            last_line = exits.log_tail.strip().rpartition("\n")[2].strip()
            sentences = [f"{exits.summary()}.", exits.outlook(name)]
            sentences.append(f"Its last log line: {last_line}")
            texts[name] = " ".join(filter(None, sentences))
    return texts


async def _problem(http: httpx2.AsyncClient, url: str) -> str:
    if url.startswith("tcp:"):
        return await _connection_problem(url)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            response = await http.get(url)
    except TimeoutError:
        return NO_ANSWER_IN_TIME
    except httpx2.HTTPError as error:
        return str(error) or type(error).__name__
    return "" if response.is_success else f"answers {response.status_code}"


async def _connection_problem(url: str) -> str:
    """Return why the port of ``url`` accepts no connections; "" if it does."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except TimeoutError:
        return NO_ANSWER_IN_TIME
    except OSError as error:
        return str(error)
    writer.close()
    return ""


def _host(name: str) -> str:
    return os.environ.get(f"{variable_prefix(name)}_HOST") or ports.LOOPBACK
