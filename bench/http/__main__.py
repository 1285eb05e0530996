"""``python -m bench.http [--quick] [--arms bare,ours] [--routes nothing,charges,checkout]``: what telemetry costs a service."""

import argparse
import os

from rich.console import Console
from rich.table import Table

from bench.http import load, rounds, running
from bench.http.arms import ARMS, ROUTES, ZERO_CODE, Route
from bench.http.rounds import Result, Round


def main() -> None:
    """Play all arms in turn, round after round, and print one table for each route."""
    parser = argparse.ArgumentParser(prog="python -m bench.http", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 4 s, the do-nothing route: for use while developing")
    parser.add_argument("--arms", default=",".join(ARMS), help=f"of {', '.join(ARMS)}; default all")
    parser.add_argument("--routes", help=f"of {', '.join(ROUTES)}; default all, with --quick nothing")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=int)
    said = parser.parse_args()
    arms = said.arms.split(",")
    routes = (said.routes or ("nothing" if said.quick else ",".join(ROUTES))).split(",")
    if unknown := [each for each in arms if each not in ARMS] + [each for each in routes if each not in ROUTES]:
        parser.error(f"{unknown[0]}: arms are {', '.join(ARMS)}; routes are {', '.join(ROUTES)}")
    if "zero-code" in arms and not (ZERO_CODE / "opentelemetry-instrument").exists():
        parser.error("zero-code needs .venv-bench: run `make bench`, which sets it up, or name other --arms")
    load.found()
    os.sched_setaffinity(0, {int(running.REST)})
    results = play(arms, routes, said.rounds or (3 if said.quick else 5), said.seconds or (4 if said.quick else 10))
    for route in routes:
        Console(width=130).print(table(route, {arm: results[route, arm] for arm in arms}))


def play(arms: list[str], routes: list[str], count: int, seconds: int) -> dict[tuple[str, str], Result]:
    """Play every arm once a round, each round in another order, so that a slow minute of the machine falls on all."""
    played: dict[tuple[str, str], list[Round]] = {(route, arm): [] for route in routes for arm in arms}
    out = Console(stderr=True, highlight=False)
    with running.receiver(running.SERVICE) as alone:
        ceiling = load.wrk(alone.port, Route("", "/"), 2)
    out.print(f"wrk alone makes {ceiling.rate:,.0f} requests a second of a server that only says 200")
    with running.receiver() as receiver:
        for number in range(count):
            for route in routes:
                turn = number % len(arms)
                for arm in arms[turn:] + arms[:turn]:
                    done = rounds.play(arm, route, seconds, receiver)
                    played[route, arm].append(done)
                    errors = f", {done.load.errors} errors" if done.load.errors else ""
                    out.print(f"{number + 1}/{count} {route} {arm}: {done.load.rate:,.0f} requests/s{errors}")
    return {key: Result(each) for key, each in played.items()}


def table(route: str, results: dict[str, Result]) -> Table:
    """All arms on one route; an arm with errors has no figures."""
    first = next(iter(results.values()))
    drawn = Table(
        box=None, pad_edge=False, header_style="bold", title=f"{route}: {len(first.rounds)} rounds", title_justify="left"
    )
    drawn.add_column("arm")
    kept = "kept" if "bare" in results else "of " + next(iter(results))
    said = (
        "requests/s",
        "spread",
        kept,
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
    for heading in said:
        drawn.add_column(heading, justify="right")
    base = results.get("bare", first).rate
    for arm, each in results.items():
        if each.errors:
            drawn.add_row(arm, f"refused: {each.errors} errors")
            continue
        shares = [f"{share:.0%}" for share in (each.own("service"), each.middle("cpu"), each.own("receiver"))]
        told = [f"{each.a_request(of):.2f}" for of in ("spans", "lines", "counted")]
        drawn.add_row(
            arm,
            f"{each.rate:,.0f}",
            "{:,.0f}-{:,.0f}".format(*each.spread),
            f"{each.rate / base:.2f}",
            f"{each.own('micros'):,.0f}",
            f"{each.middle('p50'):.1f}",
            f"{each.middle('p99'):.1f}",
            *shares,
            *told,
            f"{sum(each.a_request(of) for of in ('traces', 'logs', 'metrics')):,.0f}",
        )
    return drawn


if __name__ == "__main__":
    main()
