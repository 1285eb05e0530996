"""``python -m bench.http [--quick] [--arms bare,ours] [--routes nothing,charges,checkout]``: what telemetry costs a service."""

import argparse
import os
import random
from collections.abc import Callable

from rich.console import Console

from bench import report
from bench.http import load, rounds, running, tables
from bench.http.arms import ARMS, ROUTES, ZERO_CODE, Route
from bench.http.rounds import Result, Round

Results = dict[tuple[str, str], Result]
OPEN = ("bare", "ours")
"""The arms of the open loop."""
say = Console(stderr=True, highlight=False).print


def main() -> None:
    """Play all arms in turn, round after round, and print one table for each route."""
    parser = argparse.ArgumentParser(prog="python -m bench.http", description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="3 rounds of 4 s, the do-nothing route: for use while developing",
    )
    parser.add_argument(
        "--arms",
        default=",".join(ARMS),
        help=f"of {', '.join(ARMS)}; the first is what others are compared with",
    )
    parser.add_argument(
        "--routes", help=f"of {', '.join(ROUTES)}; default all, with --quick nothing"
    )
    parser.add_argument("--rounds", type=int, help="default 5")
    parser.add_argument("--seconds", type=int, help="of a round; default 10")
    parser.add_argument("--open", action="store_true", help="with --quick: the open loop as well")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    said = parser.parse_args()
    arms = said.arms.split(",")
    routes = (said.routes or ("nothing" if said.quick else ",".join(ROUTES))).split(",")
    if unknown := [each for each in arms if each not in ARMS] + [
        each for each in routes if each not in ROUTES
    ]:
        parser.error(f"{unknown[0]}: arms are {', '.join(ARMS)}; routes are {', '.join(ROUTES)}")
    if "zero-code" in arms and not (ZERO_CODE / "opentelemetry-instrument").exists():
        parser.error(
            "zero-code needs .venv-bench: run `make bench`, which sets it up, or name other --arms"
        )
    count, seconds = (
        said.rounds or (3 if said.quick else 5),
        said.seconds or (4 if said.quick else 10),
    )
    for tool in load.PACKAGES:
        load.found(tool)
    os.sched_setaffinity(0, {int(running.REST)})
    show: Callable[[report.Section], None] = report.write if said.write else lambda _: None
    with running.receiver(running.SERVICE) as alone:
        ceiling = load.wrk(alone.port, Route("", "/"), 3)
    with running.receiver() as receiver:
        closed = play(
            arms, routes, count, lambda arm, route: rounds.play(arm, route, seconds, receiver)
        )
        section = kept(closed, ceiling, seconds)
        report.draw(section)
        show(section)
        if said.open or not said.quick:
            rates = {
                route: closed[route, arms[-1] if "ours" not in arms else "ours"].rate / 2
                for route in routes
            }
            opened = play(
                [arm for arm in arms if arm in OPEN],
                routes,
                count,
                lambda arm, route: rounds.play(arm, route, seconds, receiver, rates[route]),
            )
            section = added(opened, rates, seconds)
            report.draw(section)
            show(section)


def play(
    arms: list[str], routes: list[str], count: int, one: Callable[[str, str], Round]
) -> Results:
    """Play every arm once a round, each round in another order, so that a slow minute of the machine falls on all."""
    played: dict[tuple[str, str], list[Round]] = {
        (route, arm): [] for route in routes for arm in arms
    }
    for number in range(count):
        for route in routes:
            for arm in random.Random(number).sample(arms, len(arms)):  # noqa: S311  (no secret; another neighbour each time)
                done = one(arm, route)
                played[route, arm].append(done)
                errors = f", {done.load.errors} errors" if done.load.errors else ""
                rate, p50 = done.load.rate, done.load.p50
                say(
                    f"{number + 1}/{count} {route} {arm}: {rate:,.0f} requests/s, p50 {p50:.1f} ms{errors}",
                    style="dim",
                )
    return {key: Result(each) for key, each in played.items()}


def kept(results: Results, ceiling: load.Load, seconds: int) -> report.Section:
    """Requests a second, closed loop."""
    routes = list(dict.fromkeys(route for route, _ in results))
    busiest = max(each.middle("cpu") for each in results.values())
    words = (
        f"{load.version()} with {load.CONNECTIONS} connections, {seconds} s a round; the service on a core of its own, "
        f"wrk, receiver and payment on the other. wrk alone makes {ceiling.rate:,.0f} requests a second of a server that "
        f"only says 200, and took {busiest:.0%} of its core at most."
    )
    done = [
        tables.kept(route, {arm: each for (of, arm), each in results.items() if of == route})
        for route in routes
    ]
    return report.Section("kept", words, done)


def added(results: Results, rates: dict[str, float], seconds: int) -> report.Section:
    """Time at half of what ours can take, open loop."""
    words = f"Open loop, {seconds} s a round, at half of what `ours` could take, times from the planned moment of each request."
    done = [
        tables.added(route, rate, {arm: each for (of, arm), each in results.items() if of == route})
        for route, rate in rates.items()
    ]
    return report.Section("added", words, done)


if __name__ == "__main__":
    main()
