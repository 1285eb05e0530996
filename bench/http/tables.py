"""What the rounds say, in tables."""

from collections.abc import Mapping
from statistics import median

from bench.http.rounds import Result
from bench.report import Table

KEPT = (
    "arm",
    "requests/s",
    "spread",
    "kept",
    "CPU µs",
    "p50 ms",
    "p99 ms",
    "service",
    "wrk",
    "receiver",
)
TOLD = ("spans", "lines", "counted", "bytes")
ADDED = (
    "arm",
    "requests/s",
    "p50 ms",
    "spread",
    "p99 ms",
    "spread",
    "added p50",
    "added p99",
    "late p99 ms",
    "lines",
)


def kept(route: str, results: Mapping[str, Result]) -> Table:
    """Requests a second of all arms on one route, over the first arm's; an arm with errors has no figures."""
    rows, base = [], next(iter(results.values())).rate
    for arm, each in results.items():
        if each.errors:
            rows.append([arm, f"refused: {each.errors} errors", *[""] * (len(KEPT + TOLD) - 2)])
            continue
        shares = [
            f"{share:.0%}"
            for share in (each.own("service"), each.middle("cpu"), each.own("receiver"))
        ]
        figures = [
            f"{each.own('micros'):,.0f}",
            f"{each.middle('p50'):.1f}",
            f"{each.middle('p99'):.1f}",
            *shares,
        ]
        told = [f"{each.a_request(what):.2f}" for what in TOLD[:3]]
        size = sum(each.a_request(what) for what in ("traces", "logs", "metrics"))
        rate, spread = f"{each.rate:,.0f}", "{:,.0f}-{:,.0f}".format(*each.spread)
        rows.append([arm, rate, spread, f"{each.rate / base:.2f}", *figures, *told, f"{size:,.0f}"])
    return Table(f"{route}, {len(next(iter(results.values())).rounds)} rounds", KEPT + TOLD, rows)


def added(route: str, rate: float, results: Mapping[str, Result]) -> Table:
    """What the arms add to the first one's time at ``rate`` requests a second."""
    rows, base = [], next(iter(results.values()))
    for arm, each in results.items():
        if each.errors:
            rows.append([arm, f"refused: {each.errors} errors", *[""] * (len(ADDED) - 2)])
            continue
        row = [arm, f"{rate:,.0f}"]
        for of in ("p50", "p99"):
            values = [float(getattr(round_.load, of)) for round_ in each.rounds]
            row += [f"{median(values):.2f}", f"{min(values):.2f}-{max(values):.2f}"]
        row += [
            f"{each.middle(of) - base.middle(of):+.2f}" if each is not base else ""
            for of in ("p50", "p99")
        ]
        rows.append([*row, f"{each.middle('late'):.2f}", f"{each.a_request('lines'):.2f}"])
    return Table(f"{route}, {len(base.rounds)} rounds", ADDED, rows)
