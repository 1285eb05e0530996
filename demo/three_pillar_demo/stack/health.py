"""Who answers of the stack that runs, asked from outside: natively and in compose, where peers have hosts of their own."""

import asyncio
import os

import httpx2

from three_pillar_demo.stack.components import LOOPBACK, MODES

TIMEOUT = 2.0
GRAFANA = "grafana"


def addresses(mode: str) -> dict[str, str]:
    """By component of ``mode``, what answers 200 once it works, where ``NAME_HOST`` says; of ``compose`` as of ``full``."""
    found = {
        each.name: f"http://{_host(each.name)}:{each.ready_port or each.ports[0]}{each.ready}"
        for each in MODES.get(mode, MODES["full"])
    }
    if os.environ.get("GRAFANA_HOST"):  # in compose it runs, though the native list may have none
        found[GRAFANA] = f"http://{_host(GRAFANA)}:3000/api/health"
    return found


async def problems(http: httpx2.AsyncClient, mode: str) -> dict[str, str]:
    """By component, what is wrong with it; empty when it answers. Never raises."""

    async def look(url: str) -> str:
        try:
            async with asyncio.timeout(TIMEOUT):
                answer = await http.get(url)
        except TimeoutError:
            return f"no answer within {TIMEOUT:g} s"
        except httpx2.HTTPError as error:
            return str(error) or type(error).__name__
        return "" if answer.is_success else f"answers {answer.status_code}"

    known = addresses(mode)
    return dict(zip(known, await asyncio.gather(*map(look, known.values())), strict=True))


def _host(name: str) -> str:
    return os.environ.get(name.upper().replace("-", "_") + "_HOST") or LOOPBACK
