"""Flows: work that outlives one attempt."""

from __future__ import annotations

import os
from typing import Any

import flows
import pytest
from harness import WAIT, lines
from s3_servers import wait_until
from stores import EMPTY, empties

from ostinato import ConfigError, Job, JobCancelled, JobFailed, PayloadError, StoreUnavailable, TaskError, replay, task
from ostinato.flow import AnswerError
from ostinato.storage import JobQuery
from ostinato.testing.faulty_store import faulty

RUNNERS = ["thread", "subprocess"]
FULL = bool(os.environ.get("OSTINATO_TEST_FULL"))


def everywhere(test: Any) -> Any:
    """Run it on servers too; with ``OSTINATO_TEST_FULL=1`` all are run on all stores."""
    test.stores = list(EMPTY) if FULL else ["memory", "sqlite", "postgres18", "valkey"]
    return test


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "url" in metafunc.fixturenames:
        without_server = list(EMPTY) if FULL else ["memory", "sqlite"]
        metafunc.parametrize("url", getattr(metafunc.function, "stores", without_server), indirect=True)


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    return empties(request, request.param)()


@pytest.fixture
def executor(make_executor, url):
    with make_executor(url, poll=30) as one:
        yield one


def steps(executor: Any, handle: Any) -> list[str]:
    rows = executor._store.find(JobQuery(flow=handle.id, oldest_first=True, limit=1000)).rows
    return [row.job.step for row in rows]


def outcomes(handle: Any) -> list[str]:
    return [one.outcome for one in handle.status().attempts]


def until_blocked(handle: Any) -> None:
    wait_until(lambda: handle.status().state == "blocked")


# waiting for jobs


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_generator_fans_out_and_folds(executor, runner):
    handle = executor.post(flows.total.job([1, 2, 3]), runner=runner)
    assert handle.result(WAIT) == 12
    assert steps(executor, handle) == ["flows.double#1", "flows.double#2", "flows.double#3"]
    assert outcomes(handle) == ["suspended", "success"]


def test_one_after_the_other(executor):
    handle = executor.post(flows.in_turn.job(5), runner="thread")
    assert handle.result(WAIT) == 32
    assert outcomes(handle) == ["suspended"] * 5 + ["success"]


def test_a_flow_holds_no_slot_while_it_waits(make_executor, url):
    with make_executor(url, slots=1) as executor:
        waiting = executor.post([flows.paid.job(1, None), flows.nested.job([1])], runner="thread")
        assert waiting[1].result(WAIT) == 4
        until_blocked(waiting[0])


@everywhere
@pytest.mark.parametrize("runner", RUNNERS)
def test_what_fails_is_raised_where_it_is_awaited(executor, runner):
    assert executor.post(flows.caught.job("oh"), runner=runner).result(WAIT) == "ValueError: oh"


def test_what_is_not_caught_fails_the_flow(executor):
    handle = executor.post(flows.uncaught.job("oh"), runner="thread")
    with pytest.raises(JobFailed, match="oh") as caught:
        handle.result(WAIT)
    assert "in uncaught" in caught.value.traceback
    assert "replay.py" not in caught.value.traceback.partition("in uncaught")[0]


def test_a_step_with_options_of_its_own(make_executor, url):
    with make_executor(url, queues=["*"]) as executor:
        handle = executor.post(flows.placed.job(), runner="thread")
        assert handle.result(WAIT) == 4
        (one,) = executor.jobs(tag="mine")
        assert one.status().queue == "elsewhere"


def test_a_step_that_cannot_be_posted_parks_the_flow(make_executor, url):
    with make_executor(url, max_payload=1000) as executor:
        handle = executor.post(flows.too_large.job(2000), runner="thread")
        wait_until(lambda: handle.status().state == "waiting")
        assert "cannot have step 'flows.note#1'" in handle.status().reason
        assert "over the limit" in handle.status().reason


@everywhere
def test_flows_in_flows(executor):
    assert executor.post(flows.nested.job([1, 2]), runner="thread").result(WAIT) == 12


def test_coroutines_side_by_side_do_not_take_each_others_steps(executor):
    handle = executor.post(flows.side_by_side.job([3, 1, 2]), runner="thread")
    assert handle.result(WAIT) == [8, 2, 4]
    assert sorted(steps(executor, handle)) == sorted(
        [*(f"1/flows.double#{n}" for n in (1, 2, 3)), "2/flows.double#1", "3/flows.double#1", "3/flows.double#2"]
    )


@everywhere
def test_whichever_comes_first_and_the_rest_is_cancelled(executor, fifo):
    handle = executor.post(flows.quickest.job(str(fifo())), runner="thread")
    assert handle.result(WAIT) == [1, 8]
    (slow,) = executor.jobs(task="flows.wait_for")
    wait_until(lambda: slow.status().state == "cancelled")


@everywhere
def test_results_as_they_come(executor):
    handle = executor.post(flows.streamed.job([1, 2, 3, 4]), runner="thread")
    assert sorted(handle.result(WAIT)) == [2, 4, 6, 8]


@everywhere
def test_cancelling_a_flow_cancels_its_steps(executor):
    handle = executor.post(flows.judged.job(), runner="thread")
    until_blocked(handle)
    (asked,) = executor.jobs(state="waiting")
    handle.cancel("no longer")
    with pytest.raises(JobCancelled, match="no longer"):
        handle.result(WAIT)
    assert asked.status().state == "cancelled"
    assert handle.id in asked.status().reason


# steps


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_step_is_called_once_in_a_plain_job_too(executor, ledger, runner):
    handle = executor.post(flows.stepped.job(str(ledger), 3), runner=runner, max_attempts=3, backoff=0.01)
    assert handle.result(WAIT) == ["first", "second"]
    assert lines(ledger) == ["first", "second"]
    assert len(handle.status().attempts) == 3


@everywhere
def test_steps_of_a_flow_are_called_once(executor, ledger):
    handle = executor.post(flows.flow_with_steps.job(str(ledger)), runner="thread")
    assert handle.result(WAIT) == ["before", "middle", "after"]
    assert lines(ledger) == ["before", "middle", "after"]


def test_a_step_name_used_twice_parks_the_flow(executor):
    handle = executor.post(flows.twice.job(), runner="thread")
    wait_until(lambda: handle.status().state == "waiting")
    assert "'same' twice" in handle.status().reason


def test_what_a_finally_clause_waits_for_comes_at_the_end(executor, ledger):
    handle = executor.post(flows.tidy.job(str(ledger)), runner="thread")
    assert handle.result(WAIT) == 4
    assert lines(ledger) == ["swept", "dusted"]
    assert outcomes(handle) == ["suspended", "suspended", "success"]


def test_a_step_that_cannot_be_recorded_costs_a_flow_no_attempt(make_executor, url, ledger):
    def away(verb, call):
        if verb == "note" and not lines(ledger)[1:]:
            raise StoreUnavailable("away")
        return call()

    with faulty(away), make_executor(url) as executor:
        handle = executor.post(flows.flow_with_steps.job(str(ledger)), runner="thread")
        assert handle.result(WAIT) == ["before", "middle", "after"]
    assert lines(ledger) == ["before", "before", "middle", "after"]
    assert outcomes(handle) == ["snooze", "suspended", "success"]


# sleeping and events


@pytest.mark.parametrize("runner", RUNNERS)
def test_sleep(executor, runner):
    handle = executor.post(flows.sleeper.job(0.3), runner=runner)
    assert handle.result(WAIT) == "awake"
    first, second = handle.status().attempts
    assert (second.started_at - first.ended_at).total_seconds() >= 0.2


@everywhere
def test_an_event_that_comes_later(executor):
    handle = executor.post(flows.paid.job(7, None), runner="thread")
    until_blocked(handle)
    assert executor.signal("paid", 8, "not this one")
    assert executor.signal("paid", 7, {"sum": 3})
    assert handle.result(WAIT) == {"sum": 3}


def test_an_event_that_came_first(executor):
    assert executor.signal("paid", 7, {"sum": 3})
    assert not executor.signal("paid", 7, "again")
    assert executor.post(flows.paid.job(7, None), runner="thread").result(WAIT) == {"sum": 3}


@everywhere
def test_an_event_that_does_not_come_in_time(executor):
    handle = executor.post(flows.paid.job(7, 0.2), runner="thread")
    assert handle.result(WAIT) == "too late"
    assert executor.signal("paid", 7)


def test_many_wait_for_one_event(executor):
    handles = executor.post([flows.paid.job(7, None) for _ in range(5)], runner="thread")
    for handle in handles:
        until_blocked(handle)
    executor.signal("paid", 7, "yes")
    assert [handle.result(WAIT) for handle in handles] == ["yes"] * 5


# people


@everywhere
def test_an_answer_from_a_person(executor):
    handle = executor.post(flows.judged.job(), runner="thread")
    until_blocked(handle)
    (asked,) = executor.jobs(state="waiting")
    with pytest.raises(AnswerError, match="grade"):
        asked.approve({"grade": "middling"})
    asked.approve({"grade": "good", "points": 3}, by="kim")
    assert handle.result(WAIT) == ["good", 3, "Verdict"]
    assert asked.status().reason == "answered by kim"
    with pytest.raises(AnswerError, match="answered by kim"):
        asked.approve({"grade": "bad"})


def test_a_refusal(executor):
    handle = executor.post(flows.judged.job(), runner="thread")
    until_blocked(handle)
    (asked,) = executor.jobs(state="waiting")
    asked.reject("too thin", by="kim")
    assert handle.result(WAIT) == "kim said no to 'Good?': too thin"


@pytest.mark.parametrize(("default", "result"), [(7, ["bad", 7, "Verdict"]), (None, "nobody")])
def test_nobody_answers_in_time(executor, default, result):
    assert executor.post(flows.judged.job(0.2, default), runner="thread").result(WAIT) == result


def test_an_approval_by_itself(executor):
    asked = executor.post(Job.approval("Go?"))
    then = executor.post(flows.double.job(2), after=[asked], runner="thread")
    assert (asked.status().state, then.status().state) == ("waiting", "blocked")
    asked.approve()
    assert asked.result(WAIT) is True
    assert then.result(WAIT) == 4
    with pytest.raises(AnswerError, match="no approval"):
        then.approve()


# jobs that come after others


@everywhere
def test_after_others(executor):
    first = executor.post(flows.double.job(1), runner="thread", delay=0.1)
    second = executor.post(flows.double.job(2), runner="thread", after=[first])
    third = executor.post(flows.double.job(3), runner="thread", after=[first, second.id])
    assert third.result(WAIT) == 6
    assert first.status().ended_at <= second.status().ended_at


@pytest.mark.parametrize(("failure", "state"), [("cancel", "cancelled"), ("fail", "failed"), ("run", "succeeded")])
def test_after_one_that_fails(executor, failure, state):
    first = executor.post(flows.fail.job("oh"), runner="thread")
    second = executor.post(flows.double.job(1), runner="thread", after=[first], after_failure=failure)
    assert second.wait(WAIT)
    assert second.status().state == state


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"after": [7]}, "7 is no job"),
        ({"after": 7}, "give handles"),
        ({"after_failure": "run"}, "give after="),
        ({"after": ["x"], "after_failure": "rerun"}, "Did you mean"),
    ],
)
def test_bad_dependencies_are_refused(executor, options, said):
    with pytest.raises(ConfigError, match=said):
        executor.post(flows.double.job(1), **options)


# code that changes


def test_what_is_no_job_parks_the_flow(executor):
    handle = executor.post(flows.wrong.job(), runner="thread")
    wait_until(lambda: handle.status().state == "waiting")
    assert "waits for 42, which is no job" in handle.status().reason


@pytest.fixture
def code():
    def release(name: str) -> None:
        flows.CODE = name

    yield release
    flows.CODE = "old"


@pytest.mark.parametrize(("name", "found"), [("other", "flows.note#1"), ("short", "it ends")])
def test_changed_code_parks_the_flow_and_says_where(executor, code, name, found):
    handle = executor.post(flows.changing.job())
    wait_until(lambda: "event" in (handle.status().reason or "") or handle.status().attempt >= 2)
    until_blocked(handle)
    code(name)
    executor.signal("go", payload="on")
    wait_until(lambda: handle.status().state == "waiting")
    assert found in handle.status().reason
    assert "'flows.double#1' is expected" in handle.status().reason
    code("old")
    handle.rerun()
    assert handle.result(WAIT) == [2, "on"]


@pytest.mark.parametrize("name", ["alone", "short"])
def test_coroutines_that_are_gathered_no_more_park_the_flow(executor, code, name):
    handle = executor.post(flows.gathering.job())
    wait_until(lambda: handle.status().attempt >= 2)
    until_blocked(handle)
    code(name)
    executor.signal("go", payload="on")
    wait_until(lambda: handle.status().state == "waiting")
    assert "gathers no coroutine number 1, but step '1/flows.double#1' is expected" in handle.status().reason
    code("old")
    assert handle.rerun()
    assert handle.result(WAIT) == "on"


def test_a_guarded_change_is_for_new_flows_only(executor, code):
    old = executor.post(flows.changing.job())
    wait_until(lambda: old.status().attempt >= 2)
    until_blocked(old)
    code("guarded")
    new = executor.post(flows.changing.job())
    wait_until(lambda: new.status().attempt >= 2)
    executor.signal("go", payload="on")
    assert old.result(WAIT) == [2, "on"]
    assert new.result(WAIT) == [200, "on"]


# restarts


def test_a_flow_survives_a_stop_of_all_executors(make_executor, tmp_path):
    url = f"sqlite:///{tmp_path}/jobs.db"
    with make_executor(url) as one:
        handle = one.post(flows.judged.job())
        until_blocked(handle)
    two = make_executor(url)
    (asked,) = two.jobs(state="waiting")
    asked.approve({"grade": "good"})
    with two:
        assert two.job(handle.id).result(WAIT) == ["good", 0, "Verdict"]


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_flow_that_is_interrupted_does_not_record_what_it_has_not_come_to(make_executor, url, fifo, ledger, runner):
    told = fifo()
    executor = make_executor(url).start()
    handle = executor.post(flows.interruptible.job(str(told), str(ledger)), runner=runner)
    told.line()
    executor.stop(0)
    assert lines(ledger) == ["first"]
    executor.start()
    assert handle.result(WAIT) == 2
    assert lines(ledger) == ["first", "first", "swept"]
    assert outcomes(handle) == ["interrupted", "success"]


def test_a_flow_function_that_cannot_wait_is_refused():
    with pytest.raises(TaskError, match="can wait for nothing"):
        task(flow=True)(plain)


def plain() -> None: ...


def test_an_approval_that_cannot_be_is_refused():
    with pytest.raises(PayloadError, match="default"):
        Job.approval("?", schema=int, default="x")
    with pytest.raises(PayloadError, match="title"):
        Job.approval("")


def test_an_executor_is_not_idle_while_an_end_may_release_others(executor):
    before = executor.post(flows.double.job(0), runner="thread")
    chain = [before]
    for number in range(1, 15):
        chain.append(executor.post(flows.double.job(number), runner="thread", after=[chain[-1]]))
    assert executor.wait(WAIT)
    assert [one.status().state for one in chain] == ["succeeded"] * 15


def let_go(executor: Any, how: str) -> Any:
    """Something that waits has what it waits for now."""
    if how == "signal":
        waiting = executor.post(flows.paid.job(1, None), runner="thread")
        assert executor.wait(WAIT)
        executor.signal("paid", 1, {"euros": 1})
        return waiting
    gate = executor.post(Job.approval("?")) if how != "cancel" else executor.post(flows.double.job(1), delay="1h")
    waiting = executor.post(flows.double.job(1), runner="thread", after=[gate], after_failure="run")
    assert executor.wait(WAIT)
    {"approve": lambda: gate.approve(True), "reject": gate.reject, "cancel": gate.cancel}[how]()
    return waiting


@pytest.mark.parametrize("how", ["signal", "approve", "reject", "cancel"])
def test_an_executor_is_not_idle_once_it_has_let_go_a_job(executor, how):
    waiting = let_go(executor, how)
    assert executor.wait(WAIT)
    assert waiting.status().state == "succeeded"


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_step_that_raised_has_raised_for_good_once_the_flow_has_gone_on(executor, ledger, runner):
    handle = executor.post(flows.compensated.job(str(ledger)), runner=runner)
    assert executor.wait(WAIT)
    executor.signal("go", payload="on")
    assert handle.result(WAIT) == ["ValueError: no such card", "on"]
    assert lines(ledger) == ["charge stolen", "give back"]


def test_what_a_step_raises_is_what_its_flow_fails_of_and_is_tried_again_for(executor, ledger):
    handle = executor.post(flows.calls_what_raises.job(str(ledger)), runner="thread")
    with pytest.raises(JobFailed, match="KeyError: 'nothing there'") as caught:
        handle.result(WAIT)
    assert "in look_up" in caught.value.traceback
    assert lines(ledger) == ["looked", "looked"]


def test_steps_may_be_named_as_what_a_flow_records_by_itself(executor):
    handle = executor.post(flows.named_like_records.job(), runner="thread")
    assert executor.wait(WAIT)
    executor.signal("go")
    assert handle.result(WAIT) == ["first#1", "version:new", "event:go/#1", "survived#1"]


def test_steps_with_too_much_to_carry_are_refused_with_the_fix(executor, ledger, monkeypatch):
    monkeypatch.setattr(replay, "MOST_BYTES", 1000)
    handle = executor.post(flows.total.job(list(range(100))), runner="thread")
    assert executor.wait(WAIT)
    status = handle.status()
    assert status.state == "waiting"
    assert "begins 100 steps at once" in status.reason
    assert "over the limit of 1,000. Pass paths" in status.reason
    monkeypatch.undo()
    assert handle.rerun()
    assert handle.result(WAIT) == 9900
