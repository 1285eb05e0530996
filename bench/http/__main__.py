"""Measure what telemetry costs a service: ``python -m bench.http [--quick]``.

``--arms bare,ours`` and ``--routes nothing,charges,checkout`` choose what is measured: an arm is
the app with one kind of telemetry. A closed loop (wrk) gives the throughput; open loops at a
quarter, a half and three quarters of that rate give the added latency.
"""

import argparse
import os
import random

from rich.console import Console

from bench import report
from bench.http import load, rounds, running, tables
from bench.http.arms import ARMS, PEER, PREVIOUS, ROUTES, ZERO_CODE, Route
from bench.http.rounds import Result, Round

Results = dict[tuple[str, str], Result]
"""The results by route and arm; an arm is the app with one kind of telemetry."""
OPEN_LOOP_ARMS = ("bare", "ours", "spans")
"""The arms of the open loop. ``previous`` cannot answer three quarters of what ``ours`` can."""
OPEN_LOOP_SHARES = (0.25, 0.5, 0.75)
"""The rates of the open loop, as shares of the throughput of ``ours``."""
REQUIREMENTS = {
    "zero-code": (ZERO_CODE / "opentelemetry-instrument", ".venv-bench: run `make bench`"),
    "previous": (PREVIOUS / ".venv/.ready", "`python -m bench.http.previous`"),
    "peer": (PEER / ".venv/.ready", "`python -m bench.http.peer`"),
}
"""For each arm with an environment of its own, a file of it and the command that creates it."""
CEILING_S = 3
progress = Console(stderr=True, highlight=False)


def main() -> None:
    """Measure all arms in turn, round after round, and print throughput and added latency."""
    options = parse_options()
    for tool in load.PACKAGES:
        load.find_tool(tool)
    os.sched_setaffinity(0, {int(running.OTHER_CORE)})
    with running.receiver(running.SERVICE_CORE) as server:
        ceiling = load.wrk(server.port, Route("", "/"), CEILING_S)
    with running.receiver() as receiver:
        closed = run_all(options, options.arms, receiver)
        show(throughput_section(closed, ceiling, options.seconds), write=options.write)
        has_open_loop = any(arm in OPEN_LOOP_ARMS for arm in options.arms)
        if has_open_loop and (options.open or not options.quick):
            show(measure_latency(options, closed, receiver), write=options.write)


def measure_latency(
    options: argparse.Namespace, closed: Results, receiver: running.Running
) -> report.Section:
    """Measure the added latency with open loops at three rates; return its section.

    ``closed`` are the results of the closed loop: the rates are shares of the throughput of
    ``ours``, or of the last arm of the open loop if ``ours`` is not measured.
    """
    arms = [arm for arm in options.arms if arm in OPEN_LOOP_ARMS]
    reference = "ours" if "ours" in arms else arms[-1]
    capacities = {route: closed[route, reference].rate for route in options.routes}
    latencies: dict[tuple[str, float], dict[str, Result]] = {}
    for share in OPEN_LOOP_SHARES:
        rates = {route: capacity * share for route, capacity in capacities.items()}
        results = run_all(options, arms, receiver, rates)
        for route in options.routes:
            latencies[route, share] = _of_route(results, route)
    return latency_section(latencies, capacities, options.seconds)


def parse_options() -> argparse.Namespace:
    """Parse the command line and fill in defaults; ``arms`` and ``routes`` become lists."""
    parser = argparse.ArgumentParser(prog="python -m bench.http", description=__doc__)
    arm_names = ", ".join(ARMS)
    route_names = ", ".join(ROUTES)
    parser.add_argument(
        "--quick", action="store_true", help="3 rounds of 4 s on the do-nothing route"
    )
    parser.add_argument(
        "--arms",
        default=",".join(ARMS),
        help=f"of {arm_names}; the others are compared with the first",
    )
    parser.add_argument("--routes", help=f"of {route_names}; default all, with --quick nothing")
    parser.add_argument("--rounds", type=int, help="default 5")
    parser.add_argument("--seconds", type=int, help="of a round; default 5")
    parser.add_argument("--open", action="store_true", help="with --quick: the open loop as well")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    default_routes = "nothing" if options.quick else ",".join(ROUTES)
    options.arms = options.arms.split(",")
    options.routes = (options.routes or default_routes).split(",")
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.seconds = options.seconds or (4 if options.quick else 5)
    unknown = [arm for arm in options.arms if arm not in ARMS]
    unknown += [route for route in options.routes if route not in ROUTES]
    if unknown:
        parser.error(f"{unknown[0]}: arms are {arm_names}; routes are {route_names}")
    for arm, (path, how) in REQUIREMENTS.items():
        if arm in options.arms and not path.exists():
            parser.error(f"{arm} needs {how}, or name other --arms")
    return options


def run_all(
    options: argparse.Namespace,
    arms: list[str],
    receiver: running.Running,
    rates: dict[str, float] | None = None,
) -> Results:
    """Run every arm on every route that it serves once in each round, and return all results.

    With ``rates``, requests per second by route, the load is an open loop; without, a closed one.
    The order of the arms differs from round to round, so that the slow minutes of the machine do
    not always affect the same arm.
    """
    finished: dict[tuple[str, str], list[Round]] = {
        (route, arm): [] for route in options.routes for arm in arms if ARMS[arm].serves(route)
    }
    for number in range(options.rounds):
        for route in options.routes:
            shuffled = random.Random(number).sample(arms, len(arms))  # noqa: S311  (not a secret)
            for arm in shuffled:
                if not ARMS[arm].serves(route):
                    continue
                rate = rates[route] if rates else None
                round_ = rounds.run_round(arm, route, options.seconds, receiver, rate)
                finished[route, arm].append(round_)
                errors = f", {round_.load.errors} errors" if round_.load.errors else ""
                progress.print(
                    f"{number + 1}/{options.rounds} {route} {arm}: {round_.load.rate:,.0f}"
                    f" requests/s, p50 {round_.load.p50:.1f} ms{errors}",
                    style="dim",
                )
    return {key: Result(results) for key, results in finished.items()}


def show(section: report.Section, *, write: bool) -> None:
    """Print a section; if ``write`` is set, also put it into docs/benchmarks.md."""
    report.print_section(section)
    if write:
        report.write_section(section)


def throughput_section(results: Results, ceiling: load.Load, seconds: int) -> report.Section:
    """Return a section on the throughput of each arm, measured by wrk.

    ``ceiling`` is the result of wrk with a server that only answers 200. ``seconds`` is the
    duration of a round.
    """
    routes = list(dict.fromkeys(route for route, _ in results))
    busiest = max(result.load_median("cpu") for result in results.values())
    text = (
        f"{load.wrk_version()} with {load.CONNECTIONS} connections, {seconds} s a round; the"
        " service has a core of its own, wrk, receiver and payment share the other one. wrk alone"
        f" makes {ceiling.rate:,.0f} requests a second of a server that only answers 200, and used"
        f" {busiest:.0%} of its core at most."
    )
    route_tables = [tables.throughput_table(route, _of_route(results, route)) for route in routes]
    return report.Section("kept", text, route_tables)


def latency_section(
    latencies: dict[tuple[str, float], dict[str, Result]],
    capacities: dict[str, float],
    seconds: int,
) -> report.Section:
    """Return a section on the latency of each arm at fixed request rates.

    ``latencies`` are the results by route and share of the capacity, and then by arm.
    ``capacities`` are the highest request rates by route, in requests per second. ``seconds`` is
    the duration of a round.
    """
    shares = ", ".join(f"{share:.0%}" for share in OPEN_LOOP_SHARES)
    text = (
        f"Open loop, {seconds} s a round, at {shares} of the throughput of `ours`; times run from"
        " the planned moment of each request."
    )
    route_tables = [
        tables.latency_table(
            f"{route}, at {share:.0%}", capacities[route] * share, latencies[route, share]
        )
        for route in capacities
        for share in OPEN_LOOP_SHARES
    ]
    return report.Section("added", text, route_tables)


def _of_route(results: Results, route: str) -> dict[str, Result]:
    return {arm: result for (of_route, arm), result in results.items() if of_route == route}


if __name__ == "__main__":
    main()
