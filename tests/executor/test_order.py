"""Which job goes first, and when: priorities, failures, weights, times, and clocks that jump."""

from __future__ import annotations

import itertools
import random
import threading
import time

import chores
import pytest
from harness import WAIT, held, lines, open_gate
from stores import on_empty_stores

from ostinato.model import HIGH, LOW, SECOND
from ostinato.plugins import open_test_store
from ostinato.testing.clock import FakeClock


@pytest.fixture
def make_clocked(make_executor, new_url, monkeypatch):
    """An executor whose store, of any kind, has a clock of its own that does as it is told."""

    def make(**options):
        clock = FakeClock()
        store = open_test_store(new_url(), clock)
        monkeypatch.setattr("ostinato.executor.open_store", lambda url: store)
        return make_executor(**options), clock, store

    return make


def writing(executor, ledger, name, **options):
    return executor.post(chores.write.job(str(ledger), str(name)), runner="thread", **options)


# O1: priority is strict, whenever and however jobs come


def test_priority_is_strict_and_equals_go_in_their_order(make_executor, url, ledger):
    executor = make_executor(url, slots=1, queues=["*"])
    dice = random.Random(7)
    posted = [(dice.choice([HIGH, 1, 0, -1, LOW]), number) for number in range(40)]
    for priority, number in posted:
        writing(executor, ledger, number, priority=priority, queue=dice.choice(["a", "b"]))
    executor.start()
    assert executor.wait(WAIT)
    assert lines(ledger) == [str(number) for _, number in sorted(posted, key=lambda one: (-one[0], one[1]))]


def test_a_newcomer_of_higher_priority_goes_before_all_that_wait(make_executor, url, ledger, fifo):
    executor = make_executor(url, slots=1).start()
    _, gate = held(executor, fifo, runner="thread", priority=10 * HIGH)
    for number in range(5):
        writing(executor, ledger, number)
    writing(executor, ledger, "due and higher", delay=0.01, priority=1)
    writing(executor, ledger, "highest", priority="high")
    assert not threading.Event().wait(0.02)  # the delay is over
    open_gate(gate)
    assert executor.wait(WAIT)
    assert lines(ledger) == ["highest", "due and higher", *"01234"]


def test_what_nobody_may_run_holds_back_nothing_of_lower_priority(make_executor, url, ledger):
    executor = make_executor(url, slots=2)
    writing(executor, ledger, "elsewhere", priority="high", queue="elsewhere")
    writing(executor, ledger, "too heavy", priority="high", slots=3)
    writing(executor, ledger, "low", priority="low")
    executor.start()
    assert executor.wait(WAIT)
    assert lines(ledger) == ["low"]


@on_empty_stores()
def test_a_job_that_has_waited_too_long_goes_before_newer_high_ones(make_clocked, ledger):
    executor, clock, _ = make_clocked(slots=1, ageing="10m")
    for number in range(3):
        writing(executor, ledger, f"low {number}", priority="low")
        clock.advance(300)
    writing(executor, ledger, "high", priority="high")
    executor.start()
    assert executor.wait(WAIT)
    assert lines(ledger) == ["low 0", "low 1", "high", "low 2"]


# O2: failing jobs sink


def test_a_job_that_keeps_failing_lets_the_others_pass(make_executor, url, ledger):
    executor = make_executor(url, slots=1)
    job = chores.fail_as.job("OSError", str(ledger))
    failing = executor.post(job, runner="thread", max_attempts=3, backoff=0, sink=10)
    for priority in (0, -9, -11, -19):
        writing(executor, ledger, f"at {priority}", priority=priority)
    executor.start()
    assert failing.wait(WAIT)
    assert executor.wait(WAIT)
    order = lines(ledger)  # how many pass it while its outcome is being stored is left to chance
    assert order.index("1") < order.index("at 0") < order.index("at -9") < order.index("2")
    assert order.index("at -11") < order.index("at -19") < order.index("3")


# O4: heavy jobs


def test_a_heavy_job_is_not_starved_by_light_ones_that_keep_coming(make_executor, url, ledger):
    executor = make_executor(url, slots=2)
    numbers = itertools.count()

    @executor.on("success")
    def another(event):
        if (number := next(numbers)) < 60:
            writing(executor, ledger, f"light {number}")

    for _ in range(3):
        writing(executor, ledger, "light")
    writing(executor, ledger, "heavy", slots=2)
    executor.start()
    assert executor.wait(WAIT)
    assert lines(ledger).index("heavy") == 3


# W1: times


@pytest.fixture
def shared(url, tmp_path):
    return url.replace("memory://", f"memory://{tmp_path.name}")


def test_a_newcomer_displaces_the_next_due_time_without_a_poll(make_executor, shared, ledger, monkeypatch):
    executor = make_executor(shared, poll=3600).start()
    other = make_executor(shared)
    writing(executor, ledger, "much later", delay=3600)
    assert executor.wait(WAIT)
    claims = []
    claim = executor._store.claim
    monkeypatch.setattr(executor._store, "claim", lambda *given: claims.append(time.time()) or claim(*given))
    began = time.time()
    later = writing(other, ledger, "later", delay=0.6)
    sooner = writing(other, ledger, "sooner", delay=0.3)
    assert sooner.wait(WAIT)
    assert later.wait(WAIT)
    assert 0.299 <= sooner.status().started_at.timestamp() - began <= 0.55
    assert 0.599 <= later.status().started_at.timestamp() - began <= 2
    assert len(claims) <= 20


@pytest.fixture
def clocked(make_clocked):
    executor, clock, store = make_clocked(poll=0.02)
    return executor.start(), clock, store


def looked(store, monkeypatch, times: int = 5) -> None:
    """Until the executor has looked for jobs so often from now on."""
    counted = threading.Semaphore(0)
    claim = store.claim
    monkeypatch.setattr(store, "claim", lambda *given: counted.release() or claim(*given))
    assert all(counted.acquire(timeout=WAIT) for _ in range(times))


@on_empty_stores()
def test_a_clock_that_jumps_forward_makes_due_what_it_passes(clocked, ledger, monkeypatch):
    executor, clock, store = clocked
    passed, not_yet = writing(executor, ledger, "passed", delay=3600), writing(executor, ledger, "not yet", delay=3602)
    looked(store, monkeypatch)
    assert lines(ledger) == []
    clock.advance(3601)
    assert passed.wait(WAIT)
    looked(store, monkeypatch)
    assert (lines(ledger), not_yet.status().state) == (["passed"], "scheduled")


@on_empty_stores()
def test_a_clock_that_jumps_back_starts_nothing_early_and_nothing_twice(clocked, ledger, monkeypatch):
    executor, clock, store = clocked
    writing(executor, ledger, "before")
    assert executor.wait(WAIT)
    soon = writing(executor, ledger, "soon", delay=1)
    clock.advance(-3600)
    at_once = writing(executor, ledger, "at once")
    assert at_once.wait(WAIT)
    looked(store, monkeypatch)
    assert lines(ledger) == ["before", "at once"]
    clock.advance(3601)
    assert soon.wait(WAIT)
    assert lines(ledger) == ["before", "at once", "soon"]
    assert soon.status().run_at.timestamp() * SECOND <= clock.now
