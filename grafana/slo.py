"""The dashboard *SLO*: the two objectives, their error budgets and their burn rates."""

from grafana_foundation_sdk.builders import dashboard as build

from grafana.parts import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    FinishedPanel,
    dashboard,
    number,
    promql,
    promql_instant,
    thresholds,
    time_series,
    with_rows,
)

OBJECTIVES = {
    "availability": "answered without a server error (5xx)",
    "latency": "answered within one second, of the successful ones",
}
WINDOWS = {
    "5m": BLUE,
    "30m": "light-blue",
    "1h": "purple",
    "2h": "light-purple",
    "6h": ORANGE,
    "1d": RED,
}
TICKET = 3
"""The burn rate from which config/alerts.yml opens a ticket, over a window of one day."""
PAGE = 14.4
"""The burn rate from which config/alerts.yml sends a page, over a window of one hour."""


def burn_rate(slo: str, window: str) -> str:
    """Return the query of the burn rate of an objective over ``window``, such as ``1h``.

    At a burn rate of 1, the error budget lasts exactly for the period of the objective.
    """
    return f'slo:{slo}:error_ratio_rate{window} / on (slo) slo:error_budget:ratio{{slo="{slo}"}}'


def objective_panels(slo: str) -> list[FinishedPanel]:
    """Return the panels of one objective; ``slo`` is a key of ``OBJECTIVES``."""
    return [
        number(
            "Objective",
            f"The share of checkouts that should be {OBJECTIVES[slo]}.",
            promql_instant(f'max(slo:objective:ratio{{slo="{slo}"}})'),
            "percentunit",
            thresholds(BLUE),
            size=(6, 4),
            decimals=1,
        ),
        number(
            "SLI, last 5 minutes",
            f"The share of checkouts that were {OBJECTIVES[slo]}.",
            promql(f"1 - slo:{slo}:error_ratio_rate5m"),
            "percentunit",
            thresholds(BLUE),
            size=(6, 4),
            decimals=1,
        ),
        number(
            "Burn rate, last hour",
            (
                "How fast the error budget is spent: at 1 it lasts exactly for the period of the"
                " objective."
            ),
            promql(burn_rate(slo, "1h")),
            "suffix: x",
            thresholds(GREEN, (1, ORANGE), (PAGE, RED)),
            size=(6, 4),
            decimals=1,
        ),
        number(
            "Budget left, last day",
            "The share of the tolerated failures that is left; below 0 the objective is missed.",
            promql(f"slo:{slo}:error_budget_remaining"),
            "percentunit",
            thresholds(RED, (0, ORANGE), (0.25, GREEN)),
            size=(6, 4),
            decimals=0,
        ),
        time_series(
            "Burn rate, by window",
            (
                "The long window shows that a burn matters, the short one that it continues:"
                " ticket 3, page 14.4."
            ),
            [promql(burn_rate(slo, window), window) for window in WINDOWS],
            "suffix: x",
            size=(24, 7),
            fill=0,
            limits=thresholds(GREEN, (TICKET, ORANGE), (PAGE, RED)),
            colours={f"^{window}$": colour for window, colour in WINDOWS.items()},
        ),
    ]


def slo() -> build.Dashboard:
    """Return the dashboard of the two service level objectives."""
    board = dashboard(
        "slo",
        "SLO",
        "The objectives, what is left of their error budgets, and how fast they burn.",
    )
    rows = [
        (f"{name.capitalize()}: checkouts are {objective}", objective_panels(name))
        for name, objective in OBJECTIVES.items()
    ]
    return with_rows(board, rows)
