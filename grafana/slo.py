"""*SLO*: the objectives, what is left of their error budgets, and how fast these burn. The figures are alerts.yml's."""

from grafana_foundation_sdk.builders import dashboard as build

from grafana.parts import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    Ready,
    course,
    dashboard,
    number,
    promql,
    promql_now,
    steps,
)

PROMISES = {
    "availability": "answered without a fault of ours (5xx)",
    "latency": "answered within a second, of those that succeed",
}
WINDOWS = {
    "5m": BLUE,
    "30m": "light-blue",
    "1h": "purple",
    "2h": "light-purple",
    "6h": ORANGE,
    "1d": RED,
}
TICKET, PAGE = 3, 14.4
"""Burn rates from which alerts.yml calls somebody: over the day, and within the hour."""


def burn(slo: str, window: str) -> str:
    """How many times faster than tolerated the error budget was spent in ``window``."""
    return f'slo:{slo}:error_ratio_rate{window} / on (slo) slo:error_budget:ratio{{slo="{slo}"}}'


def row(slo: str) -> list[Ready]:
    """The panels of one objective."""
    return [
        number(
            "Objective",
            f"The share of checkouts that is to be {PROMISES[slo]}.",
            promql_now(f'max(slo:objective:ratio{{slo="{slo}"}})'),
            "percentunit",
            steps(BLUE),
            size=(6, 4),
            decimals=1,
        ),
        number(
            "Kept, last 5 minutes",
            f"The share of checkouts that was {PROMISES[slo]}.",
            promql(f"1 - slo:{slo}:error_ratio_rate5m"),
            "percentunit",
            steps(BLUE),
            size=(6, 4),
            decimals=1,
        ),
        number(
            "Burning, last hour",
            "How many times faster than tolerated the error budget is spent: at 1 it lasts exactly as long as planned.",
            promql(burn(slo, "1h")),
            "suffix: x",
            steps(GREEN, (1, ORANGE), (PAGE, RED)),
            size=(6, 4),
            decimals=1,
        ),
        number(
            "Budget left, last day",
            "What is left of the failures that the objective tolerates; below 0 the promise is broken.",
            promql(f"slo:{slo}:error_budget_remaining"),
            "percentunit",
            steps(RED, (0, ORANGE), (0.25, GREEN)),
            size=(6, 4),
            decimals=0,
        ),
        course(
            "Burn rate, by window",
            "A long window over a line says that it matters, a short one that it goes on: a ticket from 3, a page from 14.4.",
            [promql(burn(slo, window), window) for window in WINDOWS],
            "suffix: x",
            size=(24, 7),
            fill=0,
            limits=steps(GREEN, (TICKET, ORANGE), (PAGE, RED)),
            colours={f"^{window}$": colour for window, colour in WINDOWS.items()},
        ),
    ]


def slo() -> build.Dashboard:
    """Two promises to the customers."""
    board = dashboard(
        "slo",
        "SLO",
        "What the shop promises its customers, what is left of its error budgets, and how fast they burn.",
    )
    for name, promise in PROMISES.items():
        board = board.with_row(build.Row(f"{name.capitalize()}: checkouts are {promise}"))
        for panel in row(name):
            board = board.with_panel(panel)
    return board
