"""`TaskExecutor`: starting, stopping, starting again."""

from __future__ import annotations

import queue
import threading
import time

import chores
import pytest
from harness import WAIT, held, lines, open_gate

from ostinato.errors import NotRunning
from ostinato.model import Event


@pytest.fixture
def executor(make_executor, url):
    return make_executor(url).start()


def test_start_and_stop_may_be_called_twice_and_again(executor):
    assert executor.start() is executor
    first = executor.id
    executor.stop()
    executor.stop()
    assert executor.id is None
    with pytest.raises(NotRunning, match=r"start\(\)"):
        executor.wait()
    handle = executor.post(chores.add.job(1))
    executor.start()
    assert handle.result(WAIT) == 1
    assert executor.id != first


def test_starting_and_stopping_at_once_takes_no_time(make_executor):
    executor = make_executor()
    for _ in range(5):
        began = time.monotonic()
        executor.start()
        executor.stop(0)
        assert time.monotonic() - began < 4


@pytest.mark.parametrize("runner", ["subprocess", "pool", "thread", "asyncio"])
def test_stop_interrupts_what_runs_and_hands_it_back_at_no_cost(make_executor, url, fifo, ledger, runner):
    executor = make_executor(url).start()
    told = fifo()
    task = chores.hang_later if runner == "asyncio" else chores.hang
    handle = executor.post(task.job(str(told), str(ledger)), runner=runner, max_attempts=1)
    told.line()
    executor.stop(0)
    assert lines(ledger) == ["interrupted", "cleaned up"]
    status = handle.status()
    assert (status.state, status.attempt, [one.outcome for one in status.attempts]) == ("ready", 1, ["interrupted"])
    executor.start()
    told.line()
    assert handle.status().attempt == 2
    handle.cancel()
    assert handle.wait(WAIT)


def test_stop_lets_running_jobs_end_within_its_grace(executor, fifo):
    handle, gate = held(executor, fifo)
    waiting = threading.Thread(target=executor.stop, args=(WAIT,))
    waiting.start()
    open_gate(gate)
    waiting.join(WAIT)
    assert not waiting.is_alive()
    assert handle.status().state == "succeeded"


def test_a_stubborn_job_does_not_hold_up_a_stop(executor, fifo):
    told = fifo()
    handle = executor.post(chores.stubborn.job(str(told)), grace=1000)
    told.line()
    began = time.monotonic()
    executor.stop(0)
    assert time.monotonic() - began < 6
    assert handle.status().state == "ready"


def test_every_stop_returns_only_when_it_has_stopped(executor, fifo):
    handle, gate = held(executor, fifo)
    heard: queue.Queue[str] = queue.Queue()

    def stop() -> None:
        executor.stop(WAIT)
        heard.put(handle.status().state)

    threads = [threading.Thread(target=stop) for _ in range(3)]
    for one in threads:
        one.start()
    open_gate(gate)
    assert [heard.get(timeout=WAIT) for _ in threads] == ["succeeded"] * 3


def test_a_listener_may_stop_the_executor(executor):
    stopped = threading.Event()

    @executor.on("success")
    def listener(event: Event) -> None:
        executor.stop(0)
        stopped.set()

    executor.post(chores.add.job(1))
    assert stopped.wait(WAIT)
    assert executor.id is None


def test_what_is_claimed_while_stop_looks_is_handed_back(make_executor, url):
    executor = make_executor(url, slots=16)
    for _ in range(15):
        executor.start()
        handles = executor.post([chores.add.job(n) for n in range(30)], runner="thread")
        executor.stop(0)
        states = {one.status().state for one in handles}
        assert states <= {"ready", "succeeded"}
        assert not [a for one in handles for a in one.status().attempts if a.outcome not in ("success", "interrupted")]


def test_with_starts_and_stops_and_listeners_hear_all_of_it(make_executor, url):
    heard: list[object] = []
    with make_executor(url) as executor:
        executor.on("success", lambda event: heard.append(event.result))
        for number in range(50):
            executor.post(chores.add.job(number), runner="thread")
        executor.wait(WAIT)
    assert sorted(heard) == list(range(50))


def test_a_closed_executor_says_so(make_executor, fifo):
    executor = make_executor().start()
    handle = executor.post(chores.add.job(1), delay=1000)
    failed: queue.Queue[BaseException] = queue.Queue()

    def wait() -> None:
        try:
            handle.wait(WAIT)
        except BaseException as error:
            failed.put(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    executor.close()
    executor.close()
    assert isinstance(failed.get(timeout=WAIT), NotRunning)
    for use in (lambda: executor.post(chores.add.job(1)), executor.start, handle.wait, handle.result):
        with pytest.raises(NotRunning, match="closed"):
            use()
