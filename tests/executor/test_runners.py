"""What every runner does alike: results, failures, verdicts, exits, stops."""

from __future__ import annotations

import queue
import signal
import time

import chores
import pytest
from harness import WAIT, lines

from ostinato import JobCancelled, JobFailed, current_job
from ostinato.errors import NotRunning
from ostinato.model import Event

RUNNERS = ["subprocess", "pool", "thread", "asyncio"]
PLAIN = RUNNERS[:3]  # those that take functions that are no coroutines
BLOCKING = ["subprocess", "pool", "thread"]
PROCESSES = ["subprocess", "pool"]


def of(runner: str, task, later):
    return later if runner == "asyncio" else task


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_coroutine_returns_its_result(executor, runner):
    handle = executor.post(chores.add_later.job(1, 2), runner=runner)
    assert handle.result(WAIT) == 3
    (attempt,) = handle.status().attempts
    assert (attempt.number, attempt.outcome, attempt.executor_id) == (1, "success", executor.id)
    assert attempt.started_at <= attempt.ended_at


@pytest.mark.parametrize("runner", BLOCKING)
def test_a_function_returns_its_result(executor, runner):
    assert executor.post(chores.add.job(1, b=2), runner=runner).result(WAIT) == 3


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_failure_carries_the_traceback_of_the_users_code_only(executor, runner):
    handle = executor.post(of(runner, chores.fail, chores.fail_later).job("the reason"), runner=runner)
    with pytest.raises(JobFailed, match="ValueError: the reason") as caught:
        handle.result(WAIT)
    error = caught.value
    assert (error.job_id, error.attempts, error.reason) == (handle.id, 1, "ValueError: the reason")
    assert error.traceback.startswith("Traceback")
    assert "chores.py" in error.traceback
    assert handle.id in str(error)
    if runner != "asyncio":  # asyncio.run has frames of its own
        assert "ostinato" not in error.traceback.replace("/executor/chores.py", "")


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("which", ["retry", "snooze"])
def test_retry_and_snooze_run_the_job_again(executor, runner, which, ledger):
    job = of(runner, chores.verdict, chores.verdict_later).job(which, str(ledger))
    handle = executor.post(job, runner=runner, max_attempts=2 if which == "retry" else 1)
    assert handle.result(WAIT) == "done"
    assert lines(ledger) == ["1", "2"]
    assert [one.outcome for one in handle.status().attempts] == [which, "success"]


@pytest.mark.parametrize("runner", RUNNERS)
def test_cancel_from_inside_ends_the_job_cancelled(executor, runner, ledger):
    job = of(runner, chores.verdict, chores.verdict_later).job("cancel", str(ledger))
    handle = executor.post(job, runner=runner, max_attempts=5)
    with pytest.raises(JobCancelled, match="moot"):
        handle.result(WAIT)
    assert lines(ledger) == ["1"]


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(
    ("code", "state"),
    [(0, "succeeded"), (None, "succeeded"), (1, "failed"), (100, "cancelled"), (7, "failed"), ("bye", "failed")]
)  # fmt: skip
def test_an_exit_code_says_how_it_ended(executor, runner, code, state):
    handle = executor.post(of(runner, chores.leave, chores.leave_later).job(code), runner=runner)
    assert handle.wait(WAIT)
    status = handle.status()
    assert status.state == state
    if isinstance(code, int):
        assert status.attempts[0].exit_code == code
    if code == 7:
        assert status.reason == "exit code 7"
    if code == "bye":
        assert "bye" in (status.error or "")


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_job_out_of_time_is_interrupted_and_cleans_up(executor, runner, fifo, ledger):
    job = of(runner, chores.hang, chores.hang_later).job(str(fifo()), str(ledger))
    handle = executor.post(job, runner=runner, timeout=0.3, grace=WAIT)
    with pytest.raises(JobFailed, match=r"timeout: ran longer than 0\.3 s"):
        handle.result(WAIT)
    assert lines(ledger) == ["interrupted", "cleaned up"]
    assert handle.status().attempts[0].outcome == "timeout"


@pytest.mark.parametrize("runner", PROCESSES)
def test_a_job_that_ignores_its_time_limit_is_killed_after_its_grace(executor, runner, fifo):
    handle = executor.post(chores.stubborn.job(str(fifo())), runner=runner, timeout=0.2, grace=0.3)
    began = time.monotonic()
    with pytest.raises(JobFailed, match="timeout"):
        handle.result(WAIT)
    assert 0.5 <= time.monotonic() - began < 5
    attempt = handle.status().attempts[0]
    assert (attempt.outcome, attempt.signal) == ("timeout", signal.SIGKILL)


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_running_job_can_be_cancelled(executor, runner, fifo, ledger):
    started = fifo()
    job = of(runner, chores.hang, chores.hang_later).job(str(started), str(ledger))
    handle = executor.post(job, runner=runner, max_attempts=3, grace=WAIT)
    started.line()
    assert handle.cancel("no longer wanted")
    with pytest.raises(JobCancelled, match="no longer wanted"):
        handle.result(WAIT)
    assert lines(ledger) == ["interrupted", "cleaned up"]
    assert not handle.cancel()


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_cancel_that_comes_at_the_very_start_does_not_wait_for_the_grace(executor, runner, fifo):
    handles = [
        executor.post(of(runner, chores.hang, chores.hang_later).job(str(fifo())), runner=runner, grace=60)
        for _ in range(4)
    ]
    for one in handles:
        one.cancel()
    for one in handles:
        with pytest.raises(JobCancelled):
            one.result(10)


@pytest.mark.parametrize("runner", PLAIN)
def test_the_current_job_knows_itself(executor, runner):
    handle = executor.post(chores.whoami.job(), runner=runner, tags=["a", "b"])
    found = handle.result(WAIT)
    assert found == {
        "id": handle.id, "attempt": 1, "task": "chores.whoami", "queue": "default", "tags": ["a", "b"],
        "schedule": None, "tick": None, "cancelled": False, "state": None,
    }  # fmt: skip


def test_there_is_no_current_job_outside_of_one():
    with pytest.raises(NotRunning, match="outside"):
        current_job()


@pytest.mark.parametrize("runner", BLOCKING)
def test_progress_reaches_status_and_listeners(executor, runner):
    heard: queue.Queue[Event] = queue.Queue()
    executor.on("progress", heard.put)
    try:
        handle = executor.post(chores.steps.job(500), runner=runner)
        handle.result(WAIT)
        event = heard.get(timeout=WAIT)
        while event.progress[0] < 500:
            event = heard.get(timeout=WAIT)
    finally:
        executor.off("progress", heard.put)
    assert (event.job_id, event.progress) == (handle.id, (500, 500, "step 500"))
    progress = handle.status().progress
    assert (progress.done, progress.total, progress.message) == (500, 500, "step 500")


@pytest.mark.parametrize("runner", BLOCKING)
def test_follow_up_jobs_are_stored_with_the_success(executor, runner, ledger):
    made = executor.post(chores.post_then.job("succeed", str(ledger)), runner=runner).result(WAIT)
    assert len(made) == 3
    for one in made:
        executor.job(one).result(WAIT)
    assert sorted(lines(ledger)) == ["one", "three", "two"]


@pytest.mark.parametrize("runner", BLOCKING)
def test_follow_up_jobs_of_a_failure_are_never_stored(executor, runner, ledger):
    before = {one.id for one in executor.jobs(task="chores.write")}
    with pytest.raises(JobFailed):
        executor.post(chores.post_then.job("fail", str(ledger)), runner=runner).result(WAIT)
    assert {one.id for one in executor.jobs(task="chores.write")} == before
    assert lines(ledger) == []


@pytest.mark.parametrize("runner", BLOCKING)
def test_any_result_and_any_error_can_be_stored(executor, runner):
    found = executor.post(chores.odd_result.job(), runner=runner).result(WAIT)
    assert found["n"] == 1
    assert found["thing"]["$type"] == "builtins.object"
    assert found["bad"] == "\\ud800"
    with pytest.raises(JobFailed, match="EvilError"):
        executor.post(chores.evil_error.job(), runner=runner).result(WAIT)
    found = executor.post(chores.large_result.job(2 * 2**20), runner=runner).result(WAIT)
    assert found["$too_large"] == 2 * 2**20 + 2


@pytest.mark.parametrize("runner", PLAIN)
@pytest.mark.parametrize(("kind", "attempts"), [("OSError", 3), ("KeyError", 1)])
def test_only_the_exceptions_named_are_worth_another_attempt(executor, runner, kind, attempts, ledger):
    handle = executor.post(chores.fail_as.job(kind, str(ledger)), runner=runner, max_attempts=3, backoff=0)
    with pytest.raises(JobFailed):
        handle.result(WAIT)
    assert lines(ledger) == [str(number + 1) for number in range(attempts)]


@pytest.mark.parametrize("runner", BLOCKING)
def test_arguments_that_no_longer_fit_end_the_job_before_it_is_entered(executor, runner):
    from msgspec.structs import replace

    job = replace(chores.add.job(1), args='{"gone":1}')
    handle = executor.post(job, runner=runner, max_attempts=5)
    with pytest.raises(JobFailed, match="no longer fit its signature"):
        handle.result(WAIT)
    assert [one.outcome for one in handle.status().attempts] == ["unreadable"]


@pytest.mark.parametrize("runner", RUNNERS)
def test_many_jobs_all_end_as_they_should(executor, runner):
    handles = executor.post([chores.add_later.job(number) for number in range(60)], runner=runner)
    assert [one.result(WAIT) for one in handles] == list(range(60))
