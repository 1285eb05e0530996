"""The output of ``demo rehearse`` as tables and as JSON, and the rehearsals that it refuses."""

import io
import json
from collections import Counter

import pytest
from rich.console import Console

from three_pillar_demo.chaos.judge import Observation, Verdict
from three_pillar_demo.chaos.plan import REHEARSALS
from three_pillar_demo.chaos.report import list_rehearsals, report
from three_pillar_demo.chaos.run import select_rehearsals
from three_pillar_demo.stack.preflight import LaunchError

FAILED = Observation(
    "prometheus-and-collector",
    purchases=407,
    complete=390,
    lost=Counter(spans=36, log_records=18),
    fault_s=21.3,
    steady_p99_s=0.49,
)
SKIPPED = Observation(
    "disk-full", skipped="a small disk is a tmpfs, and mounting one is not permitted here"
)
RESULTS = [
    (FAILED, Verdict(["36 spans lost"], ["customers: p99 is 1.20 of the steady state"])),
    (SKIPPED, Verdict([], [])),
]


def printed(*, as_json: bool = False) -> str:
    """Return the report of ``RESULTS`` as a terminal of 80 columns shows it, or as JSON."""
    out = io.StringIO()
    report(RESULTS, Console(file=out, width=80), as_json=as_json)
    return out.getvalue()


def test_the_tables_fit_a_terminal() -> None:
    """In 80 columns no figure is cut, and each problem is on a line with the rehearsal's name."""
    text = printed()
    rows = [line for line in text.splitlines() if line.startswith("prometheus-and-collector ")]
    assert [len(row) <= 80 and "…" not in row for row in rows] == [True, True]
    assert rows[0].split() == [
        "prometheus-and-collector",
        "FAIL",
        "407",
        "390",
        "36,",
        "18,",
        "0",
        "0",
        "0",
        "-",
    ]
    assert "prometheus-and-collector: 36 spans lost" in text
    assert "prometheus-and-collector: customers: p99 is 1.20 of the steady state" in text
    assert (
        "disk-full: skipped: a small disk is a tmpfs, and mounting one is not permitted here"
        in text
    )
    assert text.endswith("FAIL\n")


def test_json_is_one_object() -> None:
    """With ``--json`` the report is one object with the observations and problems of each."""
    document = json.loads(printed(as_json=True))
    assert document["passed"] is False
    failed, skipped = document["rehearsals"]
    assert failed["lost"] == {"spans": 36, "log_records": 18}
    assert failed["problems"] == ["36 spans lost"]
    assert failed["fault_p99_s"] is None
    assert skipped["skipped"].startswith("a small disk")


def test_all_rehearsals_are_listed() -> None:
    """The list of rehearsals contains the name of each."""
    out = io.StringIO()
    list_rehearsals(REHEARSALS, Console(file=out, width=80))
    assert all(rehearsal.name in out.getvalue() for rehearsal in REHEARSALS)


@pytest.mark.parametrize(
    ("name", "mode", "reason"),
    [
        ("nothing", "local", "there is no rehearsal 'nothing'; there are: receiver-killed"),
        (
            "tempo-stopped",
            "local",
            "tempo-stopped needs another mode: `demo up --full --detach` starts it",
        ),
        ("loki-killed", "full", "needs another mode: `demo up --cluster --detach` starts it"),
        ("receiver-stopped", "full", "receiver-stopped has a long form only: add --long"),
    ],
)
def test_an_unavailable_rehearsal_is_refused(name: str, mode: str, reason: str) -> None:
    """An unknown name, a wrong mode and a missing short form are errors that say what to do."""
    with pytest.raises(LaunchError, match=reason):
        select_rehearsals(name, mode, long=False)


def test_all_rehearsals_of_a_mode() -> None:
    """Each mode has the rehearsals of its components, and one has only a long form."""
    local = {rehearsal.name for rehearsal in select_rehearsals(None, "local", long=True)}
    assert "tempo-stopped" not in local
    assert "loki-killed" not in local
    full = {rehearsal.name for rehearsal in select_rehearsals(None, "full", long=True)}
    cluster = {rehearsal.name for rehearsal in select_rehearsals(None, "cluster", long=True)}
    assert local < full
    assert not full & cluster
    without_engines = select_rehearsals(None, "cluster-local-store", long=True)
    names = full | cluster | {rehearsal.name for rehearsal in without_engines}
    assert names == {rehearsal.name for rehearsal in REHEARSALS}
    assert len(select_rehearsals(None, "full", long=False)) == len(full) - 1
