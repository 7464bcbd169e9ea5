"""Flows that failed, run again: what they failed of is run again too, and nothing else."""

from __future__ import annotations

import flows
import pytest
from harness import WAIT, lines
from s3_servers import wait_until

from ostinato import JobFailed
from ostinato.storage import JobQuery


@pytest.fixture
def executor(make_executor, url):
    with make_executor(url, poll=30) as one:
        yield one


def step_states(executor, handle):
    rows = executor._store.find(JobQuery(flow=handle.id, oldest_first=True)).rows
    return {row.job.step: row.state for row in rows}


def fail_and_mend(handle, missing):
    """It fails since a file is missing; the file is brought, and it is run again."""
    with pytest.raises(JobFailed, match="FileNotFoundError"):
        handle.result(WAIT)
    missing.write_text("here")
    assert handle.rerun()


def test_the_step_that_failed_is_run_again_and_no_other(executor, tmp_path, ledger):
    missing = tmp_path / "missing"
    handle = executor.post(flows.mendable.job(str(missing), str(ledger)), runner="thread")
    fail_and_mend(handle, missing)
    assert handle.result(WAIT) == ["before", "here"]
    assert lines(ledger) == ["before", "tried", "tried"]


def test_in_flows_of_flows_and_what_was_cancelled_with_them_too(executor, tmp_path, ledger):
    missing = tmp_path / "missing"
    handle = executor.post(flows.flow_of_mendable.job(str(missing), str(ledger)), runner="thread")
    fail_and_mend(handle, missing)
    assert handle.result(WAIT) == [["before", "here"], None]
    assert lines(ledger) == ["before", "tried", "tried"]


def test_in_a_coroutine_whose_error_was_not_told_before_all_had_ended(executor, tmp_path, ledger):
    missing = tmp_path / "missing"
    handle = executor.post(flows.mendable_beside_others.job(str(missing), str(ledger)), runner="thread")
    wait_until(lambda: (handle.status().attempt, handle.status().state) == (2, "blocked"))
    executor.signal("go", payload="on")
    fail_and_mend(handle, missing)
    assert handle.result(WAIT) == ["here", "on"]


def test_a_flow_that_was_cancelled_sleeps_on(executor):
    handle = executor.post(flows.sleeper.job(0.5), runner="thread")
    wait_until(lambda: handle.status().state == "blocked")
    handle.cancel()
    assert set(step_states(executor, handle).values()) == {"cancelled"}
    assert handle.rerun()
    assert handle.result(WAIT) == "awake"


def test_what_it_went_on_without_stays_as_it_is(executor, tmp_path, ledger):
    missing = tmp_path / "missing"
    handle = executor.post(flows.with_fallback.job(str(missing), str(ledger)), runner="thread")
    fail_and_mend(handle, missing)
    assert handle.result(WAIT) == "here"
    assert lines(ledger) == ["tried", "another way", "tried", "tried"]
    assert step_states(executor, handle) == {
        "flows.once_mended#1": "failed",
        "flows.note#1": "succeeded",
        "flows.once_mended#2": "succeeded",
    }


def test_a_refusal_is_asked_again(executor):
    handle = executor.post(flows.asking.job(), runner="thread")
    wait_until(lambda: handle.status().state == "blocked")
    (asked,) = executor.jobs(state="waiting")
    asked.reject("no")
    with pytest.raises(JobFailed, match="said no"):
        handle.result(WAIT)
    assert handle.rerun()
    assert [one.id for one in executor.jobs(state="waiting")] == [asked.id]
    asked.approve(7)
    assert handle.result(WAIT) == 7


def test_a_step_of_a_running_flow_is_left_alone(executor, fifo):
    handle = executor.post(flows.uncaught.job("oh"), runner="thread")
    assert handle.wait(WAIT)
    blocked = executor.post(flows.judged.job(), runner="thread")
    wait_until(lambda: blocked.status().state == "blocked")
    assert not blocked.rerun()
    assert step_states(executor, blocked) == {"approval#1": "waiting"}


def test_a_signal_that_came_too_late_counts_when_it_is_run_again(executor):
    handle = executor.post(flows.hasty.job(1), runner="thread")
    with pytest.raises(JobFailed, match="WaitTimeout"):
        handle.result(WAIT)
    executor.signal("late", 1, payload="here")
    assert handle.rerun()
    assert handle.result(WAIT) == "here"
