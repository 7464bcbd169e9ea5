"""Alarms: calls that are due later."""

from types import SimpleNamespace

from ostinato.runners.alarm import SWEEP, Alarms


def test_alarms_of_ended_runs_do_not_pile_up():
    alarms = Alarms()
    for _ in range(20 * SWEEP):
        alarms.at(3600, lambda: None, SimpleNamespace(ended=True))
    assert len(alarms) <= 2 * SWEEP


def test_a_sweep_keeps_what_is_still_to_come():
    alarms = Alarms()
    rung = []
    alarms.at(0, lambda: rung.append("alone"))
    alarms.at(0, lambda: rung.append("run"), SimpleNamespace(ended=False))
    for _ in range(3 * SWEEP):
        alarms.at(3600, lambda: None, SimpleNamespace(ended=True))
    alarms.ring()
    assert rung == ["alone", "run"]


def test_only_the_earliest_alarm_changes_how_long_to_sleep():
    alarms = Alarms()
    assert alarms.patience() is None
    assert alarms.at(50, lambda: None)
    assert not alarms.at(60, lambda: None)
    assert alarms.at(40, lambda: None)
    assert 30 < alarms.patience() <= 40
