"""The six links between the pillars: each is followed as a user would, from Grafana's own provisioning, by asking the backends.

A live exemplar, span or log line is put into the configured expression, and the same request must be at the other end.
"""

import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from three_pillar_demo.paths import ROOT
from three_pillar_demo.query.http_clients import HttpClients
from three_pillar_demo.query.interface import (
    DURATION,
    NANO,
    BackendError,
    Exemplar,
    LogRecord,
    Span,
)
from three_pillar_demo.verify.checks import Check, poll_until
from three_pillar_demo.verify.expressions import (
    BrokenLinkError,
    derived,
    fill,
    just_after,
    moment,
    nothing,
    seconds,
)
from three_pillar_demo.verify.ledger import Ledger, expect

GRAFANA = ROOT / "grafana"
CONFIG = GRAFANA / "provisioning" / "datasources" / "datasources.yaml"
DASHBOARDS = GRAFANA / "dashboards"
PANEL = "Error ratio"
"""What a reader of the dashboard behind logs -> metrics looks at."""
RATE_INTERVAL = "1m"

Source = dict[str, Any]
Sources = dict[str, Source]
"""By uid, as Grafana reads them: type and jsonData."""


def configured(path: Path = CONFIG) -> Sources:
    """The data sources as Grafana sees them: it makes one $ of two."""
    found = yaml.safe_load(path.read_text().replace("$$", "$"))
    return {source["uid"]: source for source in found["datasources"]}


async def check(
    backends: HttpClients, ledger: Ledger, sources: Sources | None = None
) -> list[Check]:
    """Follow each link from one purchase of every outcome."""
    if sources is None and not CONFIG.exists():
        return [Check("links", None, f"not judged: there is no {CONFIG.relative_to(ROOT)} here")]
    trip = Trip(backends, ledger, configured() if sources is None else sources)
    links: dict[str, Callable[[], Awaitable[int]]] = {
        "exemplar -> trace": trip.exemplar_to_trace,
        "exemplar -> logs": trip.exemplar_to_logs,
        "trace -> logs": trip.trace_to_logs,
        "trace -> metrics": trip.trace_to_metrics,
        "log -> trace": trip.log_to_trace,
        "log -> metrics": trip.log_to_metrics,
    }
    return [await _follow(name, link) for name, link in links.items()]


async def _follow(name: str, link: Callable[[], Awaitable[int]]) -> Check:
    wrong = ""
    followed = 0

    async def arrives() -> bool:
        nonlocal wrong, followed
        try:
            followed = await link()
        except BrokenLinkError as error:
            wrong = str(error)
        except BackendError as error:
            wrong = f"the expression was not understood: {error}"
        else:
            wrong = ""
        return not wrong

    passed = await poll_until(arrives)
    return Check(
        f"link {name}",
        passed,
        f"{followed} followed to the same request" if passed else "broken",
        [wrong] * (not passed),
    )


class Trip:
    """The way of a user through Grafana, link by link."""

    def __init__(self, backends: HttpClients, ledger: Ledger, sources: Sources) -> None:
        """Start from one purchase of every outcome in ``ledger``."""
        self.backends = backends
        self.sources = sources
        self.purchases = list(
            {purchase.outcome: purchase for purchase in ledger.purchases}.values()
        )
        self.ledger = ledger

    async def exemplar_to_trace(self) -> int:
        """The trace has a span of the service and with the answer that the exemplar was counted for."""
        link = _first(
            self._settings("prometheus", "exemplarTraceIdDestinations"),
            lambda each: "datasourceUid" in each,
        )
        self._leads_to(link["datasourceUid"], "tempo")
        exemplars = await self._exemplars(link["name"])
        for value, exemplar in exemplars:
            spans = await self.backends.trace(value)
            service, status = (
                exemplar.labels["service_name"],
                exemplar.labels["http_response_status_code"],
            )
            if not any(each.service == service and _status(each) == status for each in spans):
                raise BrokenLinkError(f"{value}: no trace with {service}'s answer {status}")
        return len(exemplars)

    async def exemplar_to_logs(self) -> int:
        """The lines are those of the services that the trace has, all of this request."""
        link = _first(
            self._settings("prometheus", "exemplarTraceIdDestinations"), lambda each: "url" in each
        )
        exemplars = await self._exemplars(link["name"])
        for value, _ in exemplars:
            address = fill(link["url"], {"__value.raw": value})
            query = parse_qs(urlsplit(address).query)
            if urlsplit(address).path != "/explore" or "panes" not in query:
                raise BrokenLinkError(f"not an address of Explore: {address}")
            pane = next(iter(json.loads(query["panes"][0]).values()))
            self._leads_to(pane["datasource"], "loki")
            start, end = (moment(pane["range"][each]) for each in ("from", "to"))
            await self._same_request(value, pane["queries"][0]["expr"], start, end)
        return len(exemplars)

    async def trace_to_logs(self) -> int:
        """From every span of a trace to the lines of all its services."""
        link = self._settings("tempo", "tracesToLogsV2")
        self._leads_to(link["datasourceUid"], "loki")
        if not link.get("customQuery"):
            raise BrokenLinkError("tracesToLogsV2 has no query of its own")
        followed = 0
        for purchase in self.purchases:
            for span in await self.backends.trace(purchase.trace_id):
                query = fill(
                    link["query"], {"__trace.traceId": span.trace_id, "__span.spanId": span.span_id}
                )
                start = span.start / NANO + seconds(link["spanStartTimeShift"])
                end = span.end / NANO + seconds(link["spanEndTimeShift"])
                await self._same_request(span.trace_id, query, start, end)
                followed += 1
        return followed or nothing("span")

    async def trace_to_metrics(self) -> int:
        """From each service's span to its own route's figures, among them its own answer."""
        link = self._settings("tempo", "tracesToMetrics")
        self._leads_to(link["datasourceUid"], "prometheus")
        followed = 0
        for purchase in self.purchases:
            for span in await self.backends.trace(purchase.trace_id):
                if span.kind != "SERVER" or not (route := span.attributes.get("http.route")):
                    continue
                known = {**span.attributes, "service.name": span.service}
                tags = {
                    tag["value"]: known[tag["key"]] for tag in link["tags"] if tag["key"] in known
                }
                if tags.get("service_name") != span.service or tags.get("http_route") != route:
                    raise BrokenLinkError(
                        f"the span's service and route do not go along, only {tags}"
                    )
                matchers = ", ".join(f'{label}="{value}"' for label, value in tags.items())
                for each in link["queries"]:
                    query = fill(
                        each["query"], {"__tags": matchers, "__rate_interval": RATE_INTERVAL}
                    )
                    found = await self.backends.promql(query, just_after(span.end / NANO))
                    statuses = {
                        labels.get("http_response_status_code", _status(span))
                        for labels, _ in found
                    }
                    if _status(span) not in statuses:
                        raise BrokenLinkError(
                            f"{each['name']}: nothing about {span.service}'s answer {_status(span)}: {query}"
                        )
                followed += 1
        return followed or nothing("span")

    async def log_to_trace(self) -> int:
        """The trace has the very span that the line was written in."""
        link = _first(self._settings("loki", "derivedFields"), lambda each: "datasourceUid" in each)
        self._leads_to(link["datasourceUid"], "tempo")
        lines = await self._lines()
        for line in lines:
            spans = await self.backends.trace(
                fill(link["url"], {"__value.raw": derived(link, line)})
            )
            if line.fields["span_id"] not in {span.span_id for span in spans}:
                raise BrokenLinkError(
                    f"{line.body!r}: its span {line.fields['span_id']} is not in the trace"
                )
        return len(lines)

    async def log_to_metrics(self) -> int:
        """The dashboard shows the error ratio of the line's service, around the line's moment."""
        link = _first(
            self._settings("loki", "derivedFields"), lambda each: "datasourceUid" not in each
        )
        lines = await self._lines()
        for line in lines:
            known = {
                "__value.raw": derived(link, line),
                "__data.fields.Time.numeric": str(line.time // 1_000_000),
            }
            address = urlsplit(fill(link["url"], known))
            asked = {key: values[0] for key, values in parse_qs(address.query).items()}
            at = float(asked.get("time", "0")) / 1000
            reach = float(asked.get("time.window", "0")) / 2000
            if not at - reach < line.time / NANO < at + reach:
                raise BrokenLinkError(
                    f"the line's moment is not in the time shown: {address.geturl()}"
                )
            for expr in _panel(address.path):
                query = fill(
                    expr,
                    {"service": asked.get("var-service", ""), "__rate_interval": RATE_INTERVAL},
                )
                found = await self.backends.promql(query, just_after(at))
                if line.service not in {labels.get("service_name") for labels, _ in found}:
                    raise BrokenLinkError(
                        f"no error ratio of {line.service} around {line.time}: {query}"
                    )
        return len(lines)

    def _settings(self, uid: str, key: str) -> Any:  # noqa: ANN401  (YAML)
        try:
            return self.sources[uid]["jsonData"][key]
        except KeyError as error:
            raise BrokenLinkError(f"{key} is not configured for {uid}") from error

    def _leads_to(self, uid: str, kind: str) -> None:
        if self.sources.get(uid, {}).get("type") != kind:
            raise BrokenLinkError(f"leads to {uid}, which is no {kind}")

    async def _exemplars(self, label: str) -> list[tuple[str, Exemplar]]:
        """One live exemplar for each answer, with what it has under ``label``."""
        if label != "trace_id":
            raise BrokenLinkError(f"exemplars have no label {label}")
        found = await self.backends.promql_exemplars(
            f"{DURATION}_bucket", self.ledger.started, time.time()
        )
        ours = {
            (each.labels["service_name"], each.labels["http_response_status_code"]): (
                each.trace_id,
                each,
            )
            for each in found
            if each.trace_id in self.ledger.trace_ids
        }
        return list(ours.values()) or nothing("exemplar")

    async def _lines(self) -> list[LogRecord]:
        """A live line of each service, for each purchase that has one."""
        lines: list[LogRecord] = []
        for purchase in self.purchases:
            query = f'{{service_namespace="shop"}} | trace_id="{purchase.trace_id}"'
            lines += await self.backends.logql(query, self.ledger.started - 1, time.time())
        return lines or nothing("line")

    async def _same_request(self, trace_id: str, query: str, start: float, end: float) -> None:
        """The lines are of this request only, and of every service that its trace has."""
        lines = await self.backends.logql(query, start, end)
        if strangers := {line.fields.get("trace_id") for line in lines} - {trace_id}:
            raise BrokenLinkError(
                f"{trace_id}: lines of others too, as of {strangers.pop()}: {query}"
            )
        purchase = next(each for each in self.ledger.purchases if each.trace_id == trace_id)
        services = {"checkout"} | ({"payment"} if expect(purchase).payment_outcome else set())
        if silent := services - {line.service for line in lines}:
            raise BrokenLinkError(f"{trace_id}: no line of {' and '.join(sorted(silent))}: {query}")


def _panel(path: str) -> list[str]:
    """The expressions about services on the panel that a reader of the dashboard at ``path`` looks at."""
    file = DASHBOARDS / f"{path.removeprefix('/d/').split('/')[0]}.json"
    panels = (
        json.loads(file.read_text())["panels"] if path.startswith("/d/") and file.exists() else []
    )
    found = [
        target["expr"] for panel in panels if panel["title"] == PANEL for target in panel["targets"]
    ]
    return [expr for expr in found if "$service" in expr] or nothing(f"panel {PANEL!r} at {path}")


def _first(links: list[dict[str, str]], fits: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    return next((link for link in links if fits(link)), None) or nothing("such link")


def _status(span: Span) -> str:
    return str(span.attributes.get("http.response.status_code"))
