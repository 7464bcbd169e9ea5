"""No jobs are taken while the machine is too busy: the decision by itself, and a started executor."""

from __future__ import annotations

import os
import queue
import subprocess
import sys

import chores
import pytest
from harness import WAIT, open_gate
from s3_servers import wait_until

from ostinato import ConfigError, load
from ostinato.cli.overview import look
from ostinato.load import Load, Marks, Sample, over

CALM = Sample(0.0, 0.0, 0.0)
BOTH = frozenset({"cpu", "memory"})


@pytest.mark.parametrize(
    ("sample", "before", "after"),
    [
        (Sample(0.80, 0.50, 99.0), frozenset(), frozenset()),
        (Sample(0.81, 0.50, 0.0), frozenset(), {"cpu"}),
        (Sample(0.73, 0.51, 0.0), {"cpu"}, BOTH),
        (Sample(0.73, 0.48, 0.0), {"cpu"}, {"cpu"}),
        (Sample(0.73, 0.46, 0.0), BOTH, BOTH),
        (Sample(0.72, 0.46, 0.0), BOTH, {"memory"}),
        (Sample(0.72, 0.45, 0.0), BOTH, frozenset()),
    ],
)
def test_what_was_over_its_mark_must_fall_well_below_it(sample, before, after):
    assert over(Marks(cpu=0.8, memory=0.5), sample, frozenset(before)) == after


class Machine:
    """As busy as it is told; tells when somebody looks."""

    def __init__(self, **values: float) -> None:
        self.sample = Sample(**{"cpu": 0.0, "memory": 0.0, "load": 0.0, **values})
        self.looks = 0
        self.seen: queue.Queue[Sample] = queue.Queue()

    def __call__(self) -> Sample:
        self.looks += 1
        self.seen.put(self.sample)
        return self.sample


def test_it_looks_twice_a_second_and_tells_when_it_changes():
    machine, told, now = Machine(load=2.5), [], [100.0]
    watch = Load(Marks(load=2.0), lambda: told.append(watch.why), machine, lambda: now[0])
    assert watch.pause() == 0.5
    now[0] += 0.375
    assert watch.pause() == 0.125
    assert (machine.looks, told) == (1, ["load 2.50 (mark 2.00)"])
    machine.sample = Sample(0.0, 0.0, 1.9)
    now[0] += 0.125
    assert watch.pause() == 0.5
    machine.sample = Sample(0.0, 0.0, 1.8)
    now[0] += 0.5
    assert watch.pause() == 0.0
    machine.sample = Sample(0.0, 0.0, 2.5)
    now[0] += 0.4
    assert watch.pause() == 0.0  # not looked at again yet
    assert (machine.looks, told) == (3, ["load 2.50 (mark 2.00)", ""])


def test_the_use_of_the_processor_is_measured_afresh_after_a_pause():
    machine, now = Machine(cpu=0.0), [100.0]
    watch = Load(Marks(cpu=0.5), lambda: None, machine, lambda: now[0])
    for _ in range(2):
        assert watch.pause() == pytest.approx(load.FIRST)  # what it says of the time before does not count
        machine.sample = Sample(0.9, 0.0, 0.0)
        now[0] += load.FIRST
        assert watch.pause() == load.LOOK
        assert watch.why == "cpu 90% (mark 50%)"
        machine.sample = CALM
        now[0] += load.LOOK
        assert watch.pause() == 0.0
        now[0] += 3600


def test_without_marks_nothing_is_looked_at():
    machine = Machine(cpu=1.0, memory=1.0, load=99.0)
    assert Load(Marks(), lambda: None, machine).pause() == 0.0
    assert machine.looks == 0


@pytest.mark.parametrize("wrong", [{"max_cpu": 80}, {"max_memory": 0}, {"max_load": -1}, {"ageing": 0.5}])
def test_wrong_marks_are_refused(make_executor, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        make_executor(**wrong)


@pytest.fixture
def machine(monkeypatch):
    made = Machine()
    monkeypatch.setattr(load, "take_sample", made)
    monkeypatch.setattr(load, "LOOK", 0.02)
    return made


def heard_signs(executor, monkeypatch) -> queue.Queue[str]:
    """Why it takes no jobs, as it tells it with its signs of life."""
    signs: queue.Queue[str] = queue.Queue()
    renew = executor._store.renew

    def renewed(info, fences, lease):
        answer = renew(info, fences, lease)
        signs.put(info.overloaded)
        return answer

    monkeypatch.setattr(executor._store, "renew", renewed)
    return signs


def until(signs: queue.Queue[str], overloaded: bool) -> str:
    while True:
        sign = signs.get(timeout=WAIT)
        if bool(sign) is overloaded:
            return sign


def test_an_overloaded_executor_takes_nothing_and_lets_run_what_runs(make_executor, url, machine, fifo, monkeypatch):
    executor = make_executor(url, max_memory=0.5)
    signs = heard_signs(executor, monkeypatch)
    executor.start()
    started, gate = fifo(), fifo()
    running = executor.post(chores.gate.job(str(started), str(gate)))
    started.line()

    machine.sample = Sample(0.0, 0.75, 0.0)
    waiting = [executor.post(chores.add.job(n), runner="thread") for n in range(2)]
    assert until(signs, overloaded=True) == "memory 75% (mark 50%)"
    # one that slipped in before the look is none that it takes now
    late = executor.post(chores.add.job(7), runner="thread")
    claims = []
    claim = executor._store.claim
    monkeypatch.setattr(executor._store, "claim", lambda *given: claims.append(1) or claim(*given))
    for _ in range(machine.seen.qsize() + 10):
        machine.seen.get(timeout=WAIT)
    assert (late.status().state, claims) == ("ready", [])
    (shown,) = look(executor._store).executors
    assert shown.overloaded == "memory 75% (mark 50%)"
    assert any("its machine is busy" in line for line in look(executor._store).attention)
    open_gate(str(gate))
    running.result(WAIT)

    machine.sample = CALM
    assert [one.result(WAIT) for one in [*waiting, late]] == [0, 1, 7]
    assert until(signs, overloaded=False) == ""


BURN = """
import os, sys, time
for _ in range(os.cpu_count()):
    if os.fork() == 0:
        break
ends = time.monotonic() + 60
parent = os.getppid()
while time.monotonic() < ends and os.getppid() == parent:
    pass
"""


def test_processes_that_use_all_cores_are_noticed(make_executor, monkeypatch):
    executor = make_executor(max_cpu=0.97)
    signs = heard_signs(executor, monkeypatch)
    burner = subprocess.Popen([sys.executable, "-c", BURN], start_new_session=True)
    try:
        executor.start()
        # Only who has something to claim looks: what is posted before they burn is run, and then no more is looked.
        wait_until(lambda: executor.post(chores.add.job(1), runner="thread") and executor._engine._load.why)
        assert until(signs, overloaded=True).startswith("cpu ")
        assert executor.post(chores.add.job(1), runner="thread").status().state == "ready"
    finally:
        os.killpg(burner.pid, 9)
        burner.wait()
