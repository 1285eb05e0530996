"""Compare the CPU time of a request between arms, also on a busy machine.

``python -m bench.http.in_process [--arms ours,previous] [--routes nothing,checkout]``

Each arm is measured in a process of its own, without a server: an application without and one with
telemetry answer short alternating blocks of requests, and each block is measured by the CPU time of
its thread. The tenth part of the blocks that is fastest counts, because these were disturbed least.
So the ratio of the two varies much less than requests per second do. The times of the threads that
export are added. The arms take turns over several rounds.
"""

import argparse
import json
import random
import subprocess
import tempfile
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.console import Console

from bench import report
from bench.http import running
from bench.http.arms import ARMS, IN_PROCESS_ARMS, PREVIOUS, ROUTES, Arm

WORKER = Path(__file__).with_name("in_process_worker.py")
BLOCKS = 400
REQUESTS_IN_BLOCK = 5
HEADINGS = (
    "arm",
    "bare µs",
    "request µs",
    "exports µs",
    "all µs",
    "times bare",
    "spread",
    "of the first",
)
progress = Console(stderr=True, highlight=False)


class Cost(NamedTuple):
    """The CPU time of one request in microseconds, in one process.

    ``bare`` is the time without telemetry, ``request`` that of the serving thread with telemetry,
    and ``exports`` that of all other threads.
    """

    bare: float
    request: float
    exports: float

    @property
    def times_bare(self) -> float:
        """How many times the bare request the request with telemetry costs, exports included."""
        return (self.request + self.exports) / self.bare


def main() -> None:
    """Measure the arms on the routes in turn, and print a table for each route."""
    options = parse_options()
    arms = {name: IN_PROCESS_ARMS[name] for name in options.arms}
    costs: dict[tuple[str, str], list[Cost]] = {}
    with running.receiver() as receiver:
        for number in range(options.rounds):
            for route in options.routes:
                shuffled = random.Random(number).sample(list(arms), len(arms))  # noqa: S311
                for name in shuffled:
                    cost = measure(arms[name], route, f"http://127.0.0.1:{receiver.port}")
                    costs.setdefault((route, name), []).append(cost)
                    progress.print(
                        f"{number + 1}/{options.rounds} {route} {name}:"
                        f" {cost.times_bare:.2f} times bare ({cost.bare:.0f} µs)",
                        style="dim",
                    )
    tables = [
        cost_table(route, {name: costs[route, name] for name in arms}) for route in options.routes
    ]
    text = (
        f"CPU time of a request in one process without a server; {options.rounds} rounds, each with"
        f" {BLOCKS} blocks of {REQUESTS_IN_BLOCK} requests without and with telemetry in turn; the"
        " 10th percentile of the blocks, and the mean of the exports."
    )
    section = report.Section("in-process", text, tables)
    report.print_section(section)
    if options.write:
        report.write_section(section)


def parse_options() -> argparse.Namespace:
    """Parse the command line; ``arms`` and ``routes`` become lists."""
    names = list(IN_PROCESS_ARMS)
    parser = argparse.ArgumentParser(prog="python -m bench.http.in_process", description=__doc__)
    parser.add_argument(
        "--arms", default=",".join(names), help="the others are compared with the first"
    )
    parser.add_argument("--routes", default=",".join(ROUTES), help=f"of {', '.join(ROUTES)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    options.arms = options.arms.split(",")
    options.routes = options.routes.split(",")
    unknown = [arm for arm in options.arms if arm not in names]
    unknown += [route for route in options.routes if route not in ROUTES]
    if unknown:
        parser.error(f"{unknown[0]}: arms are {names}; routes are {list(ROUTES)}")
    if "previous" in options.arms and not PREVIOUS.exists():
        parser.error("previous needs `python -m bench.http.previous`, or name other --arms")
    return options


def measure(arm: Arm, route_name: str, endpoint: str) -> Cost:
    """Return the cost of a request to the route in a new process with the telemetry of ``arm``.

    ``endpoint`` is the URL of the OTLP receiver. For ``checkout``, payment runs in another process,
    without telemetry.
    """
    route = ROUTES[route_name]
    job = {
        "app": route.app,
        "mode": arm.mode,
        "path": route.path,
        "body": route.body,
        "rounds": BLOCKS,
        "requests": REQUESTS_IN_BLOCK,
    }
    settings = running.NO_FAULTS | arm.settings
    settings |= {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_SERVICE_NAME": route.app}
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        if route_name != "checkout":
            return _run_worker(arm, job, settings, folder)
        payment_log = folder / "payment.log"
        with running.service(ARMS["bare"], ROUTES["charges"], "", payment_log) as payment:
            settings["CHECKOUT_PAYMENT_URL"] = f"http://127.0.0.1:{payment.port}"
            return _run_worker(arm, job, settings, folder)


def _run_worker(arm: Arm, job: dict[str, object], settings: dict[str, str], folder: Path) -> Cost:
    result_file = folder / "result.json"
    log = folder / "worker.log"
    # -P: the folder of the script is not searched for modules; some have names of Python's own.
    command = [*arm.python, "-P", str(WORKER), json.dumps(job), str(result_file)]
    with log.open("ab") as output:
        ended = subprocess.run(
            command,
            check=False,
            cwd=arm.root,
            env=running.clean_environment() | settings,
            stdout=output,
            stderr=output,
        )
    if ended.returncode:
        raise SystemExit(f"the worker failed:\n{log.read_text()[-running.LOG_TAIL :]}")
    result = json.loads(result_file.read_text())
    return Cost(_fast(result["bare"]), _fast(result["telemetry"]), result["exports"])


def _fast(times: list[float]) -> float:
    """Return the time of the slowest block among the fastest tenth."""
    return sorted(times)[len(times) // 10]


def cost_table(route: str, costs: dict[str, list[Cost]]) -> report.Table:
    """Return a table of the costs of each arm on one route: medians over the rounds.

    ``costs`` are those of each round by arm. The last column compares the telemetry alone, without
    the bare request, with that of the first arm.
    """
    first = next(iter(costs))
    rows = []
    for arm, rounds in costs.items():
        ratios = [cost.times_bare for cost in rounds]
        rows.append(
            (
                arm,
                f"{median(cost.bare for cost in rounds):,.0f}",
                f"{median(cost.request for cost in rounds):,.0f}",
                f"{median(cost.exports for cost in rounds):,.0f}",
                f"{median(cost.request + cost.exports for cost in rounds):,.0f}",
                f"{median(ratios):.2f}",
                f"{min(ratios):.2f}-{max(ratios):.2f}",
                f"{(median(ratios) - 1) / _telemetry_times_bare(costs[first]):.2f}",
            )
        )
    return report.Table(f"{route}, {len(costs[first])} rounds", HEADINGS, rows)


def _telemetry_times_bare(rounds: list[Cost]) -> float:
    return median(cost.times_bare for cost in rounds) - 1


if __name__ == "__main__":
    main()
