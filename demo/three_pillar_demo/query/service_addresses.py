"""Finds out in Tempo which service has answered at an address."""

import asyncio
import time
from collections.abc import Sequence

from three_pillar_demo.query.lgtm_requests import TempoSearch
from three_pillar_demo.query.literals import quoted

LOOKED_BACK_S = 3600.0
"""How far back, in seconds, an answered call is searched."""
LIFETIME_S = 30.0
"""How long, in seconds, what was found is returned without another search."""


class ServiceAddresses:
    """The services at called addresses, remembered for ``LIFETIME_S``."""

    def __init__(self, clients: TempoSearch) -> None:
        self.clients = clients
        self.found: dict[str, tuple[str, float]] = {}

    async def services_at(self, addresses: Sequence[str], end: float) -> dict[str, str]:
        """Return the name of the service at each address that one has answered at before ``end``.

        An address is a host with or without a port, as ``callee_names.called_address`` returns it.
        """
        now = time.monotonic()
        self.found = {
            address: (name, searched)
            for address, (name, searched) in self.found.items()
            if searched > now - LIFETIME_S
        }
        unknown = [address for address in addresses if address not in self.found]
        names = await asyncio.gather(*(self._search(address, end) for address in unknown))
        self.found |= {address: (name, now) for address, name in zip(unknown, names, strict=True)}
        return {address: self.found[address][0] for address in addresses if self.found[address][0]}

    async def _search(self, address: str, end: float) -> str:
        """Return the service of one SERVER span whose parent has called ``address``, or ""."""
        has_port = address.count(":") == 1
        host, _, port = address.rpartition(":") if has_port else (address, "", "")
        condition = f"(span.server.address={quoted(host)} || span.net.peer.name={quoted(host)})"
        if port.isascii() and port.isdecimal():
            condition += f" && (span.server.port={port} || span.net.peer.port={port})"
        query = f"{{ kind=client && {condition} }} > {{ kind=server }}"
        traces = await self.clients.search(
            f"{query} | select(resource.service.name)", end - LOOKED_BACK_S, end, 1, 1
        )
        attributes = [
            attribute
            for trace in traces
            for span_set in trace.get("spanSets") or []
            for span in span_set.get("spans", [])
            for attribute in span.get("attributes", [])
        ]
        names = (
            str(attribute["value"].get("stringValue", ""))
            for attribute in attributes
            if attribute["key"] == "service.name"
        )
        return next(names, "")
