"""Answers the questions out of the local store's file, read-only: there is no server to ask."""

import asyncio
import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx2

from three_pillar_demo.query import promql_math, sqlite_rows
from three_pillar_demo.query.interface import (
    DURATION,
    LOOKBACK,
    NANO,
    BackendError,
    Exemplar,
    LogRecord,
    RedSample,
    ServiceCall,
    Span,
)

TIMEOUT, HOUR = 10.0, 3600.0
SERVER, ERROR = 2, 2
REACH = 200_000
"""Rows that a search without an index looks at, from the newest back."""
NAME = "the local store"
MINE = "source IN (SELECT id FROM source WHERE service = :service)"
CANONICAL = '"http.response.status_code":'


class LocalBackends:
    """A connection to the file at ``path``; an async context manager. Each question runs in a thread, with a time limit."""

    def __init__(self, path: Path, url: str = "http://127.0.0.1:4318") -> None:
        """``url`` is where the receiver says whether it is well."""
        self.path, self.url, self.uri = path, url, f"{path.resolve().as_uri()}?mode=ro"
        self.names: Mapping[str, str] = dict.fromkeys(("traces", "logs", "metrics"), NAME)
        self.components: Mapping[str, str] = dict.fromkeys(("traces", "logs", "metrics"), "store")
        self.file: sqlite3.Connection | None = None
        self.mark = 0
        self.lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Nothing is opened before it is asked for: the file may come later."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the file."""
        if self.file:
            self.file.close()
            self.file = None

    async def trace(self, trace_id: str) -> list[Span]:
        """All spans of a trace, in order of their start."""
        return [
            sqlite_rows.span(row)
            for row in await self._ask(sqlite_rows.SPAN, (sqlite_rows.id_of(trace_id),))
        ]

    async def requests(  # noqa: PLR0913  (the question's own)
        self,
        service: str,
        start: float,
        end: float,
        *,
        failed: bool = False,
        slower: float = 0.0,
        order_id: str = "",
        limit: int = 20,
    ) -> list[str]:
        """Trace ids of a service's requests, newest first."""
        wanted = f"kind = {SERVER} AND start BETWEEN :start AND :end AND {MINE}"
        wanted += f" AND status = {ERROR}" * failed + " AND duration > :slower" * (slower > 0)
        query = f"SELECT trace_id FROM span WHERE {wanted} ORDER BY start DESC LIMIT :limit"  # noqa: S608
        if order_id:
            wanted = f"rowid > (SELECT max(rowid) - {REACH} FROM span) AND start BETWEEN :start AND :end AND {MINE}"  # noqa: S608
            wanted += " AND instr(attributes, :order) AND json_extract(attributes, '$.\"order.id\"') = :id"
            query = f"SELECT DISTINCT trace_id FROM span WHERE {wanted} ORDER BY start DESC LIMIT :limit"  # noqa: S608
        known = {
            "service": service,
            "start": int(start * NANO),
            "end": int(end * NANO),
            "limit": limit,
        }
        known |= {
            "slower": int(slower * NANO),
            "order": json.dumps(order_id, ensure_ascii=False),
            "id": order_id,
        }
        return [row[0].hex() for row in await self._ask(query, known)]

    async def trace_logs(self, trace_id: str, start: float, end: float) -> list[LogRecord]:
        """The log lines of a trace, oldest first."""
        where = "WHERE trace_id = ? AND time BETWEEN ? AND ? ORDER BY time, log.rowid"
        return [
            sqlite_rows.line(row)
            for row in await self._ask(
                f"{sqlite_rows.LINE} {where}",
                (sqlite_rows.id_of(trace_id), int(start * NANO), int(end * NANO)),
            )
        ]

    async def logs(  # noqa: PLR0913  (the question's own)
        self,
        start: float,
        end: float,
        *,
        service: str = "",
        severity: str = "",
        text: str = "",
        canonical: bool = False,
        limit: int = 50,
    ) -> list[LogRecord]:
        """The newest log lines, newest first."""
        where = (
            "time BETWEEN :start AND :end"
            + f" AND {MINE}" * bool(service)
            + " AND severity_text = :severity" * bool(severity)
        )
        if text or canonical:
            where += " AND time >= coalesce((SELECT time FROM log WHERE time <= :end ORDER BY time DESC LIMIT 1 OFFSET :reach), 0)"
            where += (
                " AND instr(body, :text)" * bool(text)
                + f" AND instr(attributes, '{CANONICAL}')" * canonical
            )
        known = {
            "start": int(start * NANO),
            "end": int(end * NANO),
            "service": service,
            "severity": severity,
        }
        query = f"{sqlite_rows.LINE} WHERE {where} ORDER BY time DESC, log.rowid DESC LIMIT :limit"
        return [
            sqlite_rows.line(row)
            for row in await self._ask(
                query, known | {"text": text, "limit": limit, "reach": REACH}
            )
        ]

    async def counters(
        self,
        name: str,
        by: Sequence[str],
        where: Mapping[str, str] | None = None,
        *,
        within: float = LOOKBACK,
    ) -> dict[tuple[str, ...], float]:
        """The newest value of each series, summed by labels."""
        base, value = (
            (name.removesuffix("_count"), "count") if name.endswith("_count") else (name, "value")
        )
        newest = f"SELECT {value} FROM point WHERE series = series.id AND time > ? ORDER BY time DESC LIMIT 1"  # noqa: S608
        query = f"SELECT labels, ({newest}) FROM series WHERE name = ?"  # noqa: S608
        found: dict[tuple[str, ...], float] = defaultdict(float)
        for labels, newest_value in await self._ask(
            query, (int((time.time() - within) * NANO), base)
        ):
            known = json.loads(labels)
            if newest_value is not None and all(
                known.get(key, "") == wanted for key, wanted in (where or {}).items()
            ):
                found[tuple(known.get(key, "") for key in by)] += newest_value
        return dict(found)

    async def red(  # noqa: PLR0913  (the question's own)
        self,
        service: str,
        route: str,
        start: float,
        end: float,
        *,
        step: float = 5.0,
        window: float = 60.0,
        shares: Sequence[float] = (0.5, 0.95, 0.99),
    ) -> list[RedSample]:
        """Rate, error ratio and quantiles of a route."""
        since, until = int((start - window) * NANO), int(end * NANO)
        points = await self._ask(sqlite_rows.POINTS, (DURATION, service, route, since, until))
        return await asyncio.to_thread(promql_math.red, points, (start, end, step, window), shares)

    async def exemplars(self, start: float, end: float) -> list[Exemplar]:
        """The exemplars of ``DURATION``'s buckets."""
        return [
            Exemplar(
                trace_id.hex(),
                value,
                moment / NANO,
                {**json.loads(labels), **sqlite_rows.bucket(value, json.loads(bounds))},
            )
            for trace_id, value, moment, labels, bounds in await self._ask(
                sqlite_rows.EXEMPLARS, (int(start * NANO), int(end * NANO), DURATION)
            )
        ]

    async def service_graph(self, start: float, end: float) -> list[ServiceCall]:
        """Who called whom, from the spans at both ends of a call."""
        return [
            ServiceCall(*row)
            for row in await self._ask(sqlite_rows.EDGES, (int(start * NANO), int(end * NANO)))
        ]

    async def ingested(self) -> dict[str, int]:
        """What was taken in since the file was made."""
        return dict(await self._ask("SELECT signal, rows FROM tally", ()))

    async def freshness(self) -> dict[str, float | None]:
        """How old the newest of each pillar is."""
        newest = {
            pillar: (await self._ask(query, ()))[0][0]
            for pillar, query in sqlite_rows.NEWEST.items()
        }
        ages = {
            pillar: None if at is None else max(0.0, time.time() - at / NANO)
            for pillar, at in newest.items()
        }
        return {pillar: None if age is None or age > HOUR else age for pillar, age in ages.items()}

    async def size(self) -> int | None:
        """The file, and what is written beside it; 0 when there is none."""
        files = (self.path.with_name(self.path.name + end) for end in ("", "-wal"))
        return sum(each.stat().st_size for each in files if each.exists())

    async def health(self) -> dict[str, str]:
        """Whether the receiver is well, and the file can be read."""
        try:
            async with httpx2.AsyncClient(timeout=2.0, trust_env=False) as http:
                said = await http.get(f"{self.url}/healthz")
            if not said.is_success:
                return {"store": str(said.json().get("status", said.status_code))[:200]}
            await self.ingested()
        except (httpx2.HTTPError, BackendError, ValueError, AttributeError) as error:
            return {"store": str(error) or type(error).__name__}
        return {"store": ""}

    async def _ask(self, query: str, known: Sequence[object] | Mapping[str, object]) -> list[Any]:
        async with self.lock:
            work = asyncio.ensure_future(asyncio.to_thread(self._fetch, query, known))
            try:
                return await asyncio.shield(work)
            except (
                asyncio.CancelledError
            ):  # nobody may touch the connection while a thread still uses it
                while not work.done():
                    if self.file:
                        self.file.interrupt()
                    await asyncio.wait([work], timeout=0.1)
                raise
            except sqlite3.Error as error:
                raise BackendError(
                    f"{NAME} at {self.path}: {error} (see: demo status, demo logs store)"
                ) from error

    def _fetch(self, query: str, known: Sequence[object] | Mapping[str, object]) -> list[Any]:
        mark = self.path.stat().st_ino if self.path.exists() else 0
        if (
            self.file is None or mark != self.mark
        ):  # there is another file now: cleaned away, or put aside
            if self.file:
                self.file.close()
            self.mark = mark
            self.file = sqlite3.connect(
                self.uri, uri=True, timeout=TIMEOUT, check_same_thread=False
            )
        deadline = time.monotonic() + TIMEOUT
        self.file.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
        return self.file.execute(query, known).fetchall()
