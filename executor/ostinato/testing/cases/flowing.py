"""Flows: jobs that wait for their steps, jobs that nobody runs, and what is recorded of steps."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from ostinato.model import SECOND, After, Error, Job, Row, State
from ostinato.storage import Ask, JobQuery, Note, Record, Rescue, Store
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import (
    HOSTILE,
    attempt,
    claim,
    claim_one,
    end,
    exists,
    finish,
    info,
    job,
    look,
    names,
    want,
)
from ostinato.testing.setting import OpenStore, Setting
from ostinato.testing.threads import together

ANSWER = Ask(kind="answer", result='{"yes":1}', reason="by kim")


def step(job_id: str, flow: str = "f", **fields: Any) -> Job:
    return job(job_id, flow=flow, step=f"{job_id}#1", **fields)


def suspend(store: Store, row: Any, *steps: Job, after: tuple[str, ...] | None = None, **rule: Any) -> bool:
    ids = tuple(one.id for one in steps) if after is None else after
    made = attempt(row, "suspended")
    (applied,) = store.finish([end(row, "blocked", attempt=made, posts=steps, after=After(ids, "run", **rule))])
    return applied


def fan_out(store: Store, flow: str, count: int) -> None:
    """A flow that waits for all of its steps."""
    store.post([job(flow)])
    suspend(store, claim_one(store), *[step(f"{flow}-{number}", flow) for number in range(count)])


class FlowingCases(Setting):
    # suspending

    def test_suspended_until_its_steps_have_ended(self, store: Store) -> None:
        store.post([job("f")])
        row = claim_one(store)
        assert suspend(store, row, step("a"), step("b"))
        blocked = look(store, "f")
        assert (blocked.state, blocked.after, blocked.lease_until) == ("blocked", After(("a", "b"), "run"), None)
        first, second = claim(store)
        assert [first.job, second.job] == [step("a"), step("b")]
        finish(store, first, "failed")
        assert claim(store) == []
        finish(store, second, result="2")
        again = claim_one(store)
        assert (again.job.id, again.attempt, again.token) == ("f", 2, 2)
        assert [one.outcome for one in store.attempts(["f"])] == ["suspended"]

    @pytest.mark.parametrize("order", ["abcdeg", "gedcba", "cgadbe"])
    def test_steps_end_in_any_order(self, store: Store, order: str) -> None:
        store.post([job("f")])
        suspend(store, claim_one(store), *[step(one) for one in "abcdeg"])
        rows = {row.job.id: row for row in claim(store)}
        left = "abcdeg"
        for number, one in enumerate(order):
            assert look(store, "f").after == After(tuple(left), "run")
            assert claim(store) == []
            if number % 3 == 1:
                store.change([one], Ask(kind="cancel"))
            finish(store, rows[one], "failed" if number % 3 == 2 else "succeeded")
            left = left.replace(one, "")
        assert claim_one(store).job.id == "f"
        assert look(store, "f").after is None

    def test_suspended_for_some_of_its_steps(self, store: Store) -> None:
        store.post([job("f")])
        suspend(store, claim_one(store), step("a"), step("b"), step("c"), after=("a", "c"))
        rows = {row.job.id: row for row in claim(store)}
        finish(store, rows["c"])
        assert claim(store) == []
        finish(store, rows["a"])
        flow = claim_one(store)
        assert suspend(store, flow, step("d"), after=("b", "d"))
        finish(store, rows["b"])
        assert look(store, "f").after == After(("d",), "run")
        finish(store, claim_one(store))
        assert claim_one(store).job.id == "f"

    def test_steps_that_end_at_once_release_their_flow_once(self, open_store: OpenStore) -> None:
        stores = [open_store() for _ in range(6)]
        for turn in range(8):
            flow = f"f{turn}"
            fan_out(stores[0], flow, 6)
            rows = claim(stores[0], count=6)
            together(lambda pair: finish(pair[0], pair[1]), list(zip(stores, rows, strict=True)))
            again = claim_one(stores[0])
            assert again.job.id == flow
            finish(stores[0], again)

    def test_steps_end_while_their_flow_is_cancelled(self, open_store: OpenStore) -> None:
        stores = [open_store() for _ in range(4)]
        for turn in range(8):
            flow = f"f{turn}"
            fan_out(stores[0], flow, 4)
            rows = claim(stores[0], count=3)

            def end_or_cancel(at: int, flow: str = flow, rows: list[Row] = rows) -> None:
                if at < len(rows):
                    finish(stores[at], rows[at])
                else:
                    stores[at].change([flow], Ask(kind="cancel"))

            together(end_or_cancel, range(4))
            assert look(stores[0], flow).state == "cancelled"
            assert look(stores[0], f"{flow}-3").state == "cancelled"
            assert claim(stores[0]) == []

    def test_suspended_until_the_first_step_has_ended(self, store: Store) -> None:
        store.post([job("f")])
        suspend(store, claim_one(store), step("a"), step("b"), first=True)
        first, second = claim(store)
        finish(store, first)
        again = claim_one(store)
        assert again.job.id == "f"
        assert suspend(store, again, after=("b",))
        finish(store, second)
        assert claim_one(store).attempt == 3

    def test_suspended_for_what_has_ended_already(self, store: Store) -> None:
        store.post([job("a"), job("f")])
        row, flow = claim(store)
        finish(store, row)
        assert suspend(store, flow, after=("a",))
        assert names(claim(store)) == ["f"]

    def test_suspended_for_a_job_that_is_no_step_and_is_posted_with_it(self, store: Store) -> None:
        store.post([job("f")])
        suspend(store, claim_one(store), job("s", kind="signal"))
        assert look(store, "f").after == After(("s",), "run")
        store.change(["s"], ANSWER)
        assert names(claim(store)) == ["f"]

    def test_steps_that_are_posted_again_are_left_alone(self, store: Store) -> None:
        store.post([job("f")])
        suspend(store, claim_one(store), step("a"))
        finish(store, claim_one(store))
        suspend(store, claim_one(store), step("a"), step("b"))
        assert names(claim(store)) == ["b"]

    def test_cancel_wins_over_a_suspension(self, store: Store) -> None:
        store.post([job("f")])
        row = claim_one(store)
        store.change(["f"], Ask(kind="cancel", reason="enough"))
        assert suspend(store, row, step("a"))
        assert (look(store, "f").state, look(store, "f").reason) == ("cancelled", "enough")
        assert not exists(store, "a")

    def test_steps_end_with_their_flow(self, store: Store) -> None:
        store.post([job("f")])
        suspend(store, claim_one(store), step("a"), step("b"), step("w", kind="approval"))
        (running,) = claim(store, count=1)
        store.change(["f"], Ask(kind="cancel"))
        assert [look(store, one).state for one in "fbw"] == ["cancelled", "cancelled", "cancelled"]
        assert look(store, "a").cancelling
        assert store.renew(info("e1"), [running.fence], SECOND).cancelling == [running.fence]
        assert "f" in look(store, "b").reason

    @pytest.mark.parametrize("state", ["succeeded", "failed"])
    def test_steps_that_are_left_end_with_a_finish(self, store: Store, state: State) -> None:
        store.post([job("f")])
        suspend(store, claim_one(store), step("a"), step("b"), step("c", "b", kind="approval"), first=True)
        finish(store, claim_one(store))
        again = claim_one(store)
        assert again.job.id == "f"
        finish(store, again, state)
        assert look(store, "b").state == "cancelled"
        assert look(store, "c").state == "cancelled"  # a step of a step

    def test_followers_do_not_end_with_it(self, store: Store) -> None:
        store.post([job("p")])
        finish(store, claim_one(store), posts=(job("q", parent="p"),))
        assert names(claim(store)) == ["q"]

    def test_found_by_flow(self, store: Store) -> None:
        store.post([job("f"), step("a"), step("b", "other"), step("c")])
        assert names(store.find(JobQuery(flow="f", oldest_first=True)).rows) == ["a", "c"]
        assert names(store.find(JobQuery(flow="f", states=("ready",), limit=1)).rows) == ["c"]
        assert names(store.find(JobQuery(flow="nobody")).rows) == []

    def test_a_brief_answer_tells_what_became_of_the_steps(self, store: Store) -> None:
        store.post([job("f"), step("a"), step("b"), step("c")])
        rows = claim(store, count=3)
        finish(store, rows[1], result="1", error=Error("Odd", "all the same"), reason="why")
        finish(store, rows[2], "failed")
        query = JobQuery(flow="f", oldest_first=True)
        for one in (query, replace(query, states=("succeeded", "failed", "ready"), limit=2), JobQuery(ids=("f", "a"))):
            whole, brief = store.find(one), store.find(replace(one, brief=True))
            assert [became(row) for row in brief.rows] == [became(row) for row in whole.rows]
            assert brief.next == whole.next

    def test_steps_are_kept_as_long_as_their_flow_lives(self, store: Store) -> None:
        store.post([job("f")])
        suspend(store, claim_one(store), step("a"), step("b"))
        finish(store, claim_one(store))
        store.change(["a"], Ask(kind="forget"))
        assert exists(store, "a")
        store.change(["f"], Ask(kind="cancel"))
        store.change(["a", "f"], Ask(kind="forget"))
        assert not exists(store, "a")
        assert not exists(store, "f")

    # parking

    def test_parked_flow_is_run_again_on_demand(self, store: Store) -> None:
        store.post([job("f")])
        finish(store, claim_one(store), "waiting", reason="it does not fit", error=Error("NonDeterminism", "no"))
        row = look(store, "f")
        assert (row.state, row.reason, row.error, row.ended_at) == (
            "waiting", "it does not fit", Error("NonDeterminism", "no"), None,
        )  # fmt: skip
        assert claim(store) == []
        (changed,) = store.change(["f"], Ask(kind="answer", result="1"))
        assert (changed.before, changed.after) == ("waiting", "waiting")
        (changed,) = store.change(["f"], Ask(kind="rerun"))
        assert changed.after == "ready"
        assert claim_one(store).attempt == 2

    def test_parked_flow_is_beyond_its_expiry(self, store: Store, clock: FakeClock) -> None:
        store.post([job("f", expires_at=clock.now + SECOND)])
        finish(store, claim_one(store), "waiting")
        clock.advance(2)
        claimed = store.claim("e1", want())
        assert (claimed.expired, claimed.next_at) == ([], None)

    # waiting

    @pytest.mark.parametrize("kind", ["approval", "signal", "timer"])
    def test_nobody_runs_what_waits(self, store: Store, kind: Any) -> None:
        store.post([job("w", kind=kind)])
        assert look(store, "w").state == "waiting"
        assert claim(store) == []
        store.change(["w"], Ask(kind="cancel"))
        assert look(store, "w").state == "cancelled"

    def test_answer(self, store: Store) -> None:
        store.post([job("w", kind="approval"), job("n", after=After(("w",)))])
        (changed,) = store.change(["w"], ANSWER)
        assert (changed.before, changed.after) == ("waiting", "succeeded")
        row = look(store, "w")
        assert (row.result, row.reason, row.ended_at, row.error) == ('{"yes":1}', "by kim", store.now(), None)
        assert names(claim(store)) == ["n"]

    def test_refusal(self, store: Store) -> None:
        store.post([job("w", kind="approval"), job("n", after=After(("w",)))])
        store.change(["w"], Ask(kind="answer", error=Error("Rejected", "no"), reason="by kim"))
        row = look(store, "w")
        assert (row.state, row.error, row.reason, row.result) == ("failed", Error("Rejected", "no"), "by kim", None)
        assert look(store, "n").state == "cancelled"

    def test_first_answer_stays(self, store: Store) -> None:
        store.post([job("w", kind="signal")])
        store.change(["w"], ANSWER)
        (changed,) = store.change(["w"], Ask(kind="answer", result="2"))
        assert (changed.before, changed.after) == ("succeeded", "succeeded")
        assert look(store, "w").result == '{"yes":1}'

    @pytest.mark.parametrize("state", ["scheduled", "ready", "running"])
    def test_others_cannot_be_answered(self, store: Store, clock: FakeClock, state: State) -> None:
        store.post([job("a", run_at=clock.now + SECOND if state == "scheduled" else 0)])
        if state == "running":
            claim(store)
        (changed,) = store.change(["a"], ANSWER)
        assert (changed.before, changed.after) == (state, state)
        assert look(store, "a").result is None

    @pytest.mark.parametrize("text", HOSTILE)
    def test_any_text_is_an_answer(self, store: Store, text: str) -> None:
        store.post([job("w", kind="approval", default=text, step=text)])
        store.change(["w"], Ask(kind="answer", result=text, reason=text))
        row = look(store, "w")
        assert (row.result, row.reason, row.job.default, row.job.step) == (text, text, text, text)

    def test_its_time_runs_out(self, store: Store, clock: FakeClock) -> None:
        store.post([job("w", kind="approval", expires_at=clock.now + SECOND)])
        store.post([job("n", after=After(("w",), "run"))])
        clock.advance(1)
        claimed = store.claim("e1", want())
        assert names(claimed.expired) == ["w"]
        assert names(claimed.rows) == ["n"]
        assert look(store, "w").state == "expired"

    def test_its_time_runs_out_with_a_default(self, store: Store, clock: FakeClock) -> None:
        store.post(
            [job("t", kind="timer", expires_at=clock.now + SECOND, default="null"), job("n", after=After(("t",)))]
        )
        assert store.claim("e1", want()).next_at == clock.now + SECOND
        clock.advance(1)
        claimed = store.claim("e1", want())
        assert claimed.expired == []
        assert names(claimed.rows) == ["n"]
        row = look(store, "t")
        assert (row.state, row.result, row.ended_at) == ("succeeded", "null", clock.now)

    def test_its_time_runs_on_when_it_is_run_again(self, store: Store, clock: FakeClock) -> None:
        """Where a default answers when it is over; who asks a person again asks without limit."""
        at = clock.now + SECOND
        store.post([job("t", kind="timer", expires_at=at, default="7"), job("w", kind="approval", expires_at=at)])
        store.change(["t", "w"], Ask(kind="cancel"))
        store.change(["t", "w"], Ask(kind="rerun"))
        assert [look(store, job_id).expires_at for job_id in "tw"] == [at, None]
        assert store.claim("e1", want()).next_at == at
        clock.advance(1)
        store.claim("e1", want())
        assert [(look(store, job_id).state, look(store, job_id).result) for job_id in "tw"] == [
            ("succeeded", "7"),
            ("waiting", None),
        ]

    def test_next_at_forgets_what_was_answered(self, store: Store, clock: FakeClock) -> None:
        store.post([job("w", kind="signal", expires_at=clock.now + SECOND)])
        store.change(["w"], ANSWER)
        assert store.claim("e1", want()).next_at is None

    def test_after_others_it_waits_later(self, store: Store) -> None:
        store.post([job("a"), job("w", kind="approval", after=After(("a",)))])
        assert look(store, "w").state == "blocked"
        finish(store, claim_one(store))
        assert look(store, "w").state == "waiting"

    # what is recorded of steps

    def test_steps_are_recorded(self, store: Store) -> None:
        store.post([job("f")])
        row = claim_one(store)
        assert row.steps == {}
        assert store.note([_step(row, "a#1", "1"), _step(row, "b#1", '"x"')]) == [True, True]
        assert look(store, "f").steps == {"a#1": "1", "b#1": '"x"'}
        finish(store, row, "ready")
        assert claim_one(store).steps == {"a#1": "1", "b#1": '"x"'}

    def test_first_record_of_a_step_stays(self, store: Store) -> None:
        store.post([job("f")])
        row = claim_one(store)
        assert store.note([_step(row, "a#1", "1"), _step(row, "a#1", "2")]) == [True, True]
        assert look(store, "f").steps == {"a#1": "1"}

    def test_record_of_a_zombie_is_refused(self, store: Store) -> None:
        store.post([job("f")])
        row = claim_one(store)
        (taken,) = store.rescue("e2", Rescue(dead=("e1",)))
        assert store.note([_step(row, "a#1", "1")]) == [False]
        assert taken.steps == {}
        assert look(store, "f").steps == {}

    @pytest.mark.parametrize("text", [*HOSTILE, "n" * 200])
    def test_any_text_names_a_step(self, store: Store, text: str) -> None:
        store.post([job("f"), job("g")])
        row = claim_one(store)
        store.note([_step(row, text, text), Note("f", row.token, 1, "progress", "1")])
        assert look(store, "f").steps == {text: text}
        assert look(store, "g").steps == {}

    def test_steps_outlive_a_rerun_and_go_with_the_job(self, store: Store) -> None:
        store.post([job("f")])
        row = claim_one(store)
        store.note([_step(row, "a#1", "1")])
        finish(store, row, "failed")
        store.change(["f"], Ask(kind="rerun"))
        row = claim_one(store)
        assert row.steps == {"a#1": "1"}
        finish(store, row)
        store.change(["f"], Ask(kind="forget"))
        store.post([job("f")])
        assert claim_one(store).steps == {}

    def test_loaded_with_its_steps(self, store: Store) -> None:
        store.post([job("f")])
        store.note([_step(claim_one(store), "a#1", "1")])
        row = look(store, "f")
        finish(store, row)
        ended = look(store, "f")
        attempts = tuple(store.attempts(["f"]))
        store.change(["f"], Ask(kind="forget"))
        store.load([Record(ended, attempts)])
        assert look(store, "f").steps == {"a#1": "1"}


def _step(row: Any, name: str, value: str) -> Note:
    return Note(row.job.id, row.token, row.attempt, "step", value, name)


def became(row: Row) -> tuple[object, ...]:
    """All that a brief answer tells."""
    who = (row.job.id, row.job.task, row.job.flow, row.job.step)
    return (*who, row.state, row.attempt, row.result, row.error, row.reason)
