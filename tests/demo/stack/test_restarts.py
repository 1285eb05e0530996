"""Tests of the plan of restarts after unexpected exits."""

from three_pillar_demo.stack.restarts import MAX_EXITS, WINDOW_S, Restarts, report


def test_each_exit_within_a_minute_doubles_the_delay() -> None:
    """The first restart is due after 0.5 s, and every further one after twice as long."""
    restarts = Restarts()
    assert [restarts.exited("store", 10.0 + n) for n in range(4)] == [0.5, 1, 2, 4]


def test_the_fifth_exit_within_a_minute_is_the_last() -> None:
    """After five exits within a minute no restart is planned, and other components have theirs."""
    restarts = Restarts()
    for n in range(MAX_EXITS - 1):
        assert restarts.exited("store", n * 14.9) is not None
        assert restarts.pop_due(n * 14.9 + 4) == ["store"]
    assert restarts.exited("store", 59.9) is None
    assert restarts.pop_due(1000) == []
    assert restarts.exited("web", 59.9) == 0.5


def test_old_exits_do_not_count() -> None:
    """An exit of more than a minute ago neither delays a restart nor ends the restarts."""
    restarts = Restarts()
    for n in range(20):
        assert restarts.exited("store", n * (WINDOW_S + 1)) == 0.5


def test_a_restart_is_due_once_and_not_early() -> None:
    """A planned restart is returned once, when its time has come, unless it is cancelled."""
    restarts = Restarts()
    restarts.exited("store", 10.0)
    assert restarts.pop_due(10.4) == []
    assert restarts.pop_due(10.5) == ["store"]
    assert restarts.pop_due(10.5) == []
    restarts.exited("store", 20.0)
    restarts.cancel("store")
    assert restarts.pop_due(100) == []
    assert restarts.exited("store", 21.0) == 0.5


def test_the_report_says_what_happens_next() -> None:
    """The message has name and reason, and either the delay or the command that starts it."""
    assert report("store", "exited with code 3 after 2 s", 1.0) == (
        "store exited with code 3 after 2 s. It is started again in 1 s."
    )
    assert report("store", "exited with code 3 after 2 s", None) == (
        "store exited with code 3 after 2 s. It has exited 5 times within 60 s and stays down; "
        "`demo start store` starts it again."
    )
