"""What ``demo rehearse`` says: two narrow tables and sentences, or JSON; and what it refuses."""

import io
import json
from collections import Counter

import pytest
from rich.console import Console

from three_pillar_demo.chaos.judge import Observation, Verdict
from three_pillar_demo.chaos.plan import REHEARSALS
from three_pillar_demo.chaos.report import known, report
from three_pillar_demo.chaos.run import chosen
from three_pillar_demo.stack.preflight import LaunchError

LOST = Observation(
    "prometheus-and-collector",
    made=407,
    whole=390,
    lost=Counter(spans=36, lines=18),
    away=21.3,
    steady_p99=0.49,
)
SKIPPED = Observation(
    "disk-full", skipped="a small disk is a tmpfs, and mounting one is not permitted here"
)
PLAYED = [
    (LOST, Verdict(["36 spans lost"], ["customers: p99 is 1.20 of steady"])),
    (SKIPPED, Verdict([], [])),
]


def said(*, as_json: bool = False) -> str:
    """What is printed on a terminal of 80 columns."""
    out = io.StringIO()
    report(PLAYED, Console(file=out, width=80), as_json=as_json)
    return out.getvalue()


def test_a_table_fits_a_terminal() -> None:
    """In 80 columns no figure is cut; everything that is wrong is a sentence with the rehearsal's name."""
    text = said()
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
    assert "prometheus-and-collector: customers: p99 is 1.20 of steady" in text
    assert (
        "disk-full: skipped: a small disk is a tmpfs, and mounting one is not permitted here"
        in text
    )
    assert text.endswith("FAIL\n")


def test_as_json_it_is_one_object() -> None:
    """A program reads the same: what was seen, what is wrong, what is slow, what was skipped."""
    told = json.loads(said(as_json=True))
    assert told["passed"] is False
    lost, skipped = told["rehearsals"]
    assert (lost["lost"], lost["wrong"], lost["broken_p99"]) == (
        {"spans": 36, "lines": 18},
        ["36 spans lost"],
        None,
    )
    assert skipped["skipped"].startswith("a small disk")


def test_it_lists_what_there_is() -> None:
    """Without a name every rehearsal is listed with what it breaks."""
    out = io.StringIO()
    known(REHEARSALS, Console(file=out, width=80))
    assert all(each.name in out.getvalue() for each in REHEARSALS)


@pytest.mark.parametrize(
    ("name", "mode", "reason"),
    [
        ("nothing", "local", "there is no rehearsal 'nothing'; there are: receiver-killed"),
        ("tempo-stopped", "local", "tempo-stopped is about the real stack"),
        ("receiver-stopped", "full", "receiver-stopped has a long form only: add --long"),
    ],
)
def test_it_refuses_in_words(name: str, mode: str, reason: str) -> None:
    """An unknown name, one of the other mode, and one without a short form say what to do."""
    with pytest.raises(LaunchError, match=reason):
        chosen(name, mode, long=False)


def test_all_of_a_mode() -> None:
    """The embedded stack has no rehearsals of Tempo, Loki and Prometheus; the long form has at least as many."""
    assert not {"tempo-stopped"} & {each.name for each in chosen(None, "local", long=True)}
    assert {each.name for each in chosen(None, "full", long=True)} == {
        each.name for each in REHEARSALS
    }
    assert len(chosen(None, "full", long=False)) == len(REHEARSALS) - 1
