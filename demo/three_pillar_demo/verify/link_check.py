"""Check the six links between traces, logs and metrics that Grafana offers.

Each link is followed as a user of Grafana would: a live exemplar, span or log record is put into
the expression that Grafana's provisioning contains, the backend is queried with it, and the result
must belong to the same request.
"""

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

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
from three_pillar_demo.verify.check import Check, poll_until
from three_pillar_demo.verify.expressions import (
    BrokenLinkError,
    derived_value,
    fill,
    raise_missing,
    shift_seconds,
    time_bound,
    when_counted,
)
from three_pillar_demo.verify.grafana_config import (
    DATA_SOURCES,
    DataSources,
    first_link,
    panel_expressions,
)
from three_pillar_demo.verify.ledger import Ledger, expect

RATE_INTERVAL = "1m"
"""The value that the check puts in place of Grafana's variable ``$__rate_interval``."""


async def check_links(
    backends: HttpClients, ledger: Ledger, sources: DataSources | None = None
) -> list[Check]:
    """Follow each of the six links from several exemplars, spans or log records of the run.

    Args:
        backends: The backends to query.
        ledger: The purchases of the run.
        sources: Grafana's data sources. None reads them from the file ``DATA_SOURCES``.

    Returns:
        One verdict for each link. If the file ``DATA_SOURCES`` is needed and does not exist, the
        only element is a check that could not be judged (``passed`` is None).
    """
    if sources is None:
        if not DATA_SOURCES.exists():
            file = DATA_SOURCES.relative_to(ROOT)
            return [Check("links", None, f"not judged: there is no {file} here")]
        sources = DataSources.from_file()
    follower = LinkFollower(backends, ledger, sources)
    links: dict[str, Callable[[], Awaitable[int]]] = {
        "exemplar -> trace": follower.exemplar_to_trace,
        "exemplar -> logs": follower.exemplar_to_logs,
        "trace -> logs": follower.trace_to_logs,
        "trace -> metrics": follower.trace_to_metrics,
        "log -> trace": follower.log_to_trace,
        "log -> metrics": follower.log_to_metrics,
    }
    return [await _check_link(name, follow) for name, follow in links.items()]


async def _check_link(name: str, follow: Callable[[], Awaitable[int]]) -> Check:
    problem = ""
    followed = 0

    async def succeeds() -> bool:
        nonlocal problem, followed
        problem = ""
        try:
            followed = await follow()
        except BrokenLinkError as error:
            problem = str(error)
        except BackendError as error:
            problem = f"the backend refused the expression: {error}"
        return not problem

    if await poll_until(succeeds):
        return Check(f"link {name}", True, f"{followed} followed to the same request")  # noqa: FBT003
    return Check(f"link {name}", False, "broken", [problem])  # noqa: FBT003


class LinkFollower:
    """Follows the links between traces, logs and metrics; each public method follows one link.

    A method follows its link from several starting points and returns their number. The starting
    points are the spans or log records of one purchase of every outcome, or one exemplar for each
    service and HTTP status. A method raises ``BrokenLinkError`` at the first starting point from
    which the link does not lead to telemetry of the same request.
    """

    def __init__(self, backends: HttpClients, ledger: Ledger, sources: DataSources) -> None:
        self.backends = backends
        self.ledger = ledger
        self.sources = sources
        by_outcome = {purchase.outcome: purchase for purchase in ledger.kept}
        self.purchases = list(by_outcome.values())

    async def exemplar_to_trace(self) -> int:
        """Follow each exemplar's link to Tempo, and return the number of exemplars.

        The trace must contain a span with the same service and HTTP status as the exemplar.
        """
        destinations = self.sources.setting("prometheus", "exemplarTraceIdDestinations")
        link = first_link(destinations, lambda destination: "datasourceUid" in destination)
        self.sources.require_type(link["datasourceUid"], "tempo")
        exemplars = await self._exemplars(link["name"])
        for exemplar in exemplars:
            service = exemplar.labels["service_name"]
            status = exemplar.labels["http_response_status_code"]
            spans = await self.backends.trace(exemplar.trace_id)
            if not any(span.service == service and _status(span) == status for span in spans):
                raise BrokenLinkError(
                    f"{exemplar.trace_id}: no trace with {service}'s answer {status}"
                )
        return len(exemplars)

    async def exemplar_to_logs(self) -> int:
        """Follow each exemplar's link to Loki, and return the number of exemplars.

        The link must lead to the log records that all services wrote for the exemplar's request,
        and to no other log records.
        """
        destinations = self.sources.setting("prometheus", "exemplarTraceIdDestinations")
        link = first_link(destinations, lambda destination: "url" in destination)
        exemplars = await self._exemplars(link["name"])
        for exemplar in exemplars:
            address = urlsplit(fill(link["url"], {"__value.raw": exemplar.trace_id}))
            query = parse_qs(address.query)
            if address.path != "/explore" or "panes" not in query:
                raise BrokenLinkError(f"not an address of Explore: {address.geturl()}")
            pane = next(iter(json.loads(query["panes"][0]).values()))
            self.sources.require_type(pane["datasource"], "loki")
            await self._require_same_request(
                exemplar.trace_id,
                pane["queries"][0]["expr"],
                time_bound(pane["range"]["from"]),
                time_bound(pane["range"]["to"]),
            )
        return len(exemplars)

    async def trace_to_logs(self) -> int:
        """Follow each span's link to Loki, and return the number of spans.

        The link must lead to the log records that all services wrote for the span's request, and
        to no other log records.
        """
        link = self.sources.setting("tempo", "tracesToLogsV2")
        self.sources.require_type(link["datasourceUid"], "loki")
        if not link.get("customQuery"):
            raise BrokenLinkError("tracesToLogsV2 has no custom query")
        followed = 0
        for purchase in self.purchases:
            for span in await self.backends.trace(purchase.trace_id):
                variables = {"__trace.traceId": span.trace_id, "__span.spanId": span.span_id}
                await self._require_same_request(
                    span.trace_id,
                    fill(link["query"], variables),
                    span.start / NANO + shift_seconds(link["spanStartTimeShift"]),
                    span.end / NANO + shift_seconds(link["spanEndTimeShift"]),
                )
                followed += 1
        return followed or raise_missing("span")

    async def trace_to_metrics(self) -> int:
        """Follow each SERVER span's link to metrics, and return the number of these spans.

        The link must lead to series of the span's service and route that include the HTTP status of
        the span. SERVER spans without a route are left out.
        """
        link = self.sources.setting("tempo", "tracesToMetrics")
        self.sources.require_type(link["datasourceUid"], "prometheus")
        followed = 0
        for purchase in self.purchases:
            for span in await self.backends.trace(purchase.trace_id):
                if span.kind == "SERVER" and span.attributes.get("http.route"):
                    await self._require_metrics(link, span)
                    followed += 1
        return followed or raise_missing("span")

    async def _require_metrics(self, link: dict[str, Any], span: Span) -> None:
        attributes = {**span.attributes, "service.name": span.service}
        labels = {
            tag["value"]: attributes[tag["key"]] for tag in link["tags"] if tag["key"] in attributes
        }
        expected = (span.service, span.attributes["http.route"])
        if (labels.get("service_name"), labels.get("http_route")) != expected:
            raise BrokenLinkError(f"the tags lack the span's service and route: {labels}")
        matchers = ", ".join(f'{label}="{value}"' for label, value in labels.items())
        variables = {"__tags": matchers, "__rate_interval": RATE_INTERVAL}
        status = _status(span)
        for configured in link["queries"]:
            query = fill(configured["query"], variables)
            series = await self.backends.promql(query, when_counted(span.end / NANO))
            # A query that sums over the status has no such label; then its series includes it.
            statuses = {labels.get("http_response_status_code", status) for labels, _ in series}
            if status not in statuses:
                raise BrokenLinkError(
                    f"{configured['name']}: no series with {span.service}'s answer {status}:"
                    f" {query}"
                )

    async def log_to_trace(self) -> int:
        """Follow each log record's link to Tempo, and return the number of log records.

        The trace must contain the span in which the log record was written.
        """
        fields = self.sources.setting("loki", "derivedFields")
        link = first_link(fields, lambda field: "datasourceUid" in field)
        self.sources.require_type(link["datasourceUid"], "tempo")
        records = await self._log_records()
        for record in records:
            trace_id = fill(link["url"], {"__value.raw": derived_value(link, record)})
            spans = await self.backends.trace(trace_id)
            span_id = record.fields["span_id"]
            if span_id not in {span.span_id for span in spans}:
                raise BrokenLinkError(f"{record.body!r}: its span {span_id} is not in the trace")
        return len(records)

    async def log_to_metrics(self) -> int:
        """Follow each log record's link to metrics, and return the number of log records.

        The link must lead to the error ratio of the service that wrote the log record, over a time
        range that includes the time of the log record.
        """
        fields = self.sources.setting("loki", "derivedFields")
        link = first_link(fields, lambda field: "datasourceUid" not in field)
        records = await self._log_records()
        for record in records:
            variables = {
                "__value.raw": derived_value(link, record),
                "__data.fields.Time.numeric": str(record.time // 1_000_000),
            }
            address = urlsplit(fill(link["url"], variables))
            parameters = {name: values[0] for name, values in parse_qs(address.query).items()}
            center = float(parameters.get("time", "0")) / 1000
            half_width = float(parameters.get("time.window", "0")) / 2000
            if abs(record.time / NANO - center) >= half_width:
                raise BrokenLinkError(
                    f"the time of the log record is outside the range shown: {address.geturl()}"
                )
            service = parameters.get("var-service", "")
            await self._require_panel(address.path, service, record, center)
        return len(records)

    async def _require_panel(
        self, path: str, service: str, record: LogRecord, center: float
    ) -> None:
        for expression in panel_expressions(path):
            variables = {"service": service, "__rate_interval": RATE_INTERVAL}
            query = fill(expression, variables)
            series = await self.backends.promql(query, when_counted(center))
            if record.service not in {labels.get("service_name") for labels, _ in series}:
                raise BrokenLinkError(
                    f"no error ratio of {record.service} around {record.time}: {query}"
                )

    async def _exemplars(self, label: str) -> list[Exemplar]:
        """Return one exemplar of this run for each service and HTTP status.

        Raises:
            BrokenLinkError: ``label``, from which the link takes the trace id, is not ``trace_id``;
                or the run has no exemplar.
        """
        if label != "trace_id":
            raise BrokenLinkError(f"exemplars have no label {label}")
        exemplars = await self.backends.promql_exemplars(
            f"{DURATION}_bucket", self.ledger.started, time.time()
        )
        by_series = {
            (
                exemplar.labels["service_name"],
                exemplar.labels["http_response_status_code"],
            ): exemplar
            for exemplar in exemplars
            if exemplar.trace_id in self.ledger.trace_ids
        }
        return list(by_series.values()) or raise_missing("exemplar")

    async def _log_records(self) -> list[LogRecord]:
        """Return all log records of one purchase of every outcome."""
        records: list[LogRecord] = []
        for purchase in self.purchases:
            query = f'{{service_namespace="shop"}} | trace_id="{purchase.trace_id}"'
            records += await self.backends.logql(query, self.ledger.started - 1, time.time())
        return records or raise_missing("log record")

    async def _require_same_request(
        self, trace_id: str, query: str, start: float, end: float
    ) -> None:
        """Check that a LogQL query returns the log records of one request and of no other request.

        Each service that took part in the request must have at least one record. ``start`` and
        ``end`` are in seconds since the epoch.
        """
        records = await self.backends.logql(query, start, end)
        other_traces = {record.fields.get("trace_id") for record in records} - {trace_id}
        if other_traces:
            raise BrokenLinkError(
                f"{trace_id}: log records of other requests too, as of {other_traces.pop()}:"
                f" {query}"
            )
        purchases = [
            purchase for purchase in self.ledger.purchases if purchase.trace_id == trace_id
        ]
        services = {"checkout"}
        if expect(purchases[0]).payment_outcome:
            services.add("payment")
        silent_services = services - {record.service for record in records}
        if silent_services:
            names = " and ".join(sorted(silent_services))
            raise BrokenLinkError(f"{trace_id}: no log record of {names}: {query}")


def _status(span: Span) -> str:
    return str(span.attributes.get("http.response.status_code"))
