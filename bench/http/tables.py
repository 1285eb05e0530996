"""Tables that compare the results of all arms, each being the app with one kind of telemetry."""

from collections.abc import Mapping
from statistics import median

from bench.http.rounds import Result
from bench.report import Table

KEPT_HEADINGS = (
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
    "spans",
    "lines",
    "counted",
    "bytes",
)
ADDED_HEADINGS = (
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


def throughput_table(route: str, results: Mapping[str, Result]) -> Table:
    """Return a table of the throughput of each arm on one route, relative to the first arm.

    An arm with errors has no figures, because an error may be faster than a proper answer.
    """
    baseline = next(iter(results.values()))
    rows = []
    for arm, result in results.items():
        if result.errors:
            rows.append(_refused(arm, result, len(KEPT_HEADINGS)))
            continue
        exported_bytes = sum(result.per_request(signal) for signal in ("traces", "logs", "metrics"))
        rows.append(
            [
                arm,
                f"{result.rate:,.0f}",
                f"{min(result.rates):,.0f}-{max(result.rates):,.0f}",
                f"{result.rate / baseline.rate:.2f}",
                f"{result.round_median('micros'):,.0f}",
                f"{result.load_median('p50'):.1f}",
                f"{result.load_median('p99'):.1f}",
                f"{result.round_median('service'):.0%}",
                f"{result.load_median('cpu'):.0%}",
                f"{result.round_median('receiver'):.0%}",
                f"{result.per_request('spans'):.2f}",
                f"{result.per_request('lines'):.2f}",
                f"{result.per_request('counted'):.2f}",
                f"{exported_bytes:,.0f}",
            ]
        )
    return Table(f"{route}, {len(baseline.rounds)} rounds", KEPT_HEADINGS, rows)


def latency_table(title: str, rate: float, results: Mapping[str, Result]) -> Table:
    """Return a table of the latency of each arm at ``rate`` requests a second.

    ``title`` begins the title of the table. The columns ``added p50`` and ``added p99`` are the
    differences from the first arm.
    """
    baseline = next(iter(results.values()))
    rows = []
    for arm, result in results.items():
        if result.errors:
            rows.append(_refused(arm, result, len(ADDED_HEADINGS)))
            continue
        differences = ["", ""]
        if result is not baseline:
            differences = [
                f"{result.load_median(field) - baseline.load_median(field):+.2f}"
                for field in ("p50", "p99")
            ]
        rows.append(
            [
                arm,
                f"{rate:,.0f}",
                *_median_and_spread([round_.load.p50 for round_ in result.rounds]),
                *_median_and_spread([round_.load.p99 for round_ in result.rounds]),
                *differences,
                f"{result.load_median('late'):.2f}",
                f"{result.per_request('lines'):.2f}",
            ]
        )
    return Table(f"{title}, {len(baseline.rounds)} rounds", ADDED_HEADINGS, rows)


def _refused(arm: str, result: Result, columns: int) -> list[str]:
    return [arm, f"refused: {result.errors} errors", *[""] * (columns - 2)]


def _median_and_spread(values: list[float]) -> tuple[str, str]:
    return f"{median(values):.2f}", f"{min(values):.2f}-{max(values):.2f}"
