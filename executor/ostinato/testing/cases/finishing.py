"""Finishing: one atomic step a job, fenced, harmless when repeated."""

from __future__ import annotations

from contextlib import suppress

import pytest

from ostinato.model import FINAL, SECOND, Error, Fence, State
from ostinato.storage import Ask, Rescue, Store
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import attempt, claim, claim_one, end, exists, finish, job, jobs, look, names
from ostinato.testing.setting import OpenStore, Setting
from ostinato.testing.threads import together


class FinishingCases(Setting):
    def test_success(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a")])
        row = claim_one(store)
        clock.advance(3)
        assert finish(store, row, result='{"n":1}', charged=1)
        seen = look(store, "a")
        assert (seen.state, seen.result, seen.charged, seen.ended_at) == ("succeeded", '{"n":1}', 1, clock.now)
        assert (seen.lease_until, seen.attempt, seen.started_at) == (None, 1, row.started_at)
        assert store.attempts(["a"]) == [attempt(row)]

    def test_failure(self, store: Store) -> None:
        store.post([job("a")])
        error = Error("ValueError", "no", "Traceback ...")
        finish(store, claim_one(store), "failed", error=error, reason="gave up", charged=2, deaths=1)
        seen = look(store, "a")
        assert (seen.state, seen.error, seen.reason) == ("failed", error, "gave up")
        assert (seen.charged, seen.deaths, seen.result) == (2, 1, None)

    def test_ended_job_is_not_claimed_again(self, store: Store, clock: FakeClock) -> None:
        store.post(jobs(3))
        states: list[State] = ["succeeded", "failed", "cancelled"]
        store.finish([end(row, state) for row, state in zip(claim(store), states, strict=True)])
        clock.advance(3600)
        assert claim(store) == []

    def test_retry_waits_for_its_time(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a")])
        finish(store, claim_one(store), "scheduled", run_at=clock.now + 5 * SECOND, charged=1, reason="again")
        seen = look(store, "a")
        assert (seen.state, seen.run_at, seen.ended_at) == ("scheduled", clock.now + 5 * SECOND, None)
        assert (seen.lease_until, seen.charged, seen.reason) == (None, 1, "again")
        assert claim(store) == []
        clock.advance(5)
        again = claim_one(store, "e2")
        assert (again.attempt, again.charged, again.executor_id) == (2, 1, "e2")

    def test_each_attempt_is_recorded(self, store: Store) -> None:
        store.post([job("a")])
        first = claim_one(store)
        finish(store, first, "ready")
        second = claim_one(store, "e2")
        finish(store, second)
        assert store.attempts(["a"]) == [attempt(first, "retry"), attempt(second)]

    def test_posts_are_stored_with_the_end(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a")])
        later = job("later", run_at=clock.now + SECOND)
        assert finish(store, claim_one(store), posts=(job("c"), job("b"), later))
        assert names(claim(store)) == ["c", "b"]
        assert look(store, "later").state == "scheduled"

    def test_posts_of_a_known_id_are_left_as_they_are(self, store: Store) -> None:
        store.post([job("a"), job("b", args='{"n":1}')])
        assert finish(store, claim_one(store), posts=(job("b", args='{"n":2}'),))
        assert look(store, "b").job.args == '{"n":1}'

    def test_end_and_posts_are_one_step(self, store: Store) -> None:
        """Whatever a store does with a post it cannot hold: the end does not stand without it."""
        store.post([job("a")])
        with suppress(Exception):
            finish(store, claim_one(store), posts=(job("b"), job("bad", args="\ud800")))
        assert (look(store, "a").state == "succeeded") == exists(store, "b")

    def test_ends_are_applied_each_by_itself(self, store: Store) -> None:
        store.post(jobs(3))
        first, second, third = claim(store)
        finish(store, second)
        ends = [end(first), (Fence(second.job.id, 99), end(second)[1]), end(third, "failed")]
        assert store.finish(ends) == [True, False, True]
        assert [look(store, row.job.id).state for row in (first, third)] == ["succeeded", "failed"]

    def test_finishing_nothing_is_fine(self, store: Store) -> None:
        assert store.finish([]) == []

    # the fence

    def test_unknown_job_is_refused(self, store: Store) -> None:
        store.post([job("a")])
        fence, told = end(claim_one(store))
        assert store.finish([(Fence("nobody", fence.token), told)]) == [False]

    def test_job_that_never_ran_is_refused(self, store: Store) -> None:
        store.post([job("a")])
        assert not finish(store, look(store, "a"))
        assert look(store, "a").state == "ready"

    @pytest.mark.parametrize("step", [-1, 1])
    def test_other_token_is_refused(self, store: Store, step: int) -> None:
        store.post([job("a")])
        fence, told = end(claim_one(store), posts=(job("b"),))
        assert store.finish([(Fence("a", fence.token + step), told)]) == [False]
        assert look(store, "a").state == "running"
        assert not exists(store, "b")

    def test_zombie_is_refused_after_a_rescue(self, store: Store, open_store: OpenStore) -> None:
        store.post([job("a")])
        zombie = claim_one(store)
        (rescued,) = open_store().rescue("e2", Rescue(dead=("e1",)))
        assert not finish(store, zombie, posts=(job("b"),))
        assert (look(store, "a").state, exists(store, "b"), store.attempts(["a"])) == ("running", False, [])
        assert finish(store, rescued, "ready")
        assert not finish(store, zombie)
        assert look(store, "a").state == "ready"

    def test_repeat_is_harmless(self, store: Store) -> None:
        """The answer to the first was lost; the caller cannot know that it was applied."""
        store.post([job("a")])
        row = claim_one(store)
        for _ in range(2):
            assert finish(store, row, result="1", posts=(job("b"),))
        assert store.attempts(["a"]) == [attempt(row)]
        assert names(claim(store)) == ["b"]

    def test_repeat_after_the_next_claim_is_harmless(self, store: Store) -> None:
        store.post([job("a")])
        first = claim_one(store)
        finish(store, first, "ready")
        second = claim_one(store)
        assert finish(store, first, "ready")
        assert look(store, "a") == second
        finish(store, second)
        assert finish(store, first, "ready")
        assert look(store, "a").state == "succeeded"

    def test_repeat_within_one_call_is_harmless(self, store: Store) -> None:
        store.post([job("a")])
        told = end(claim_one(store))
        assert store.finish([told, told]) == [True, True]
        assert len(store.attempts(["a"])) == 1

    def test_of_two_who_finish_at_once_one_decides(self, open_store: OpenStore) -> None:
        stores = [open_store() for _ in range(2)]
        stores[0].post([job("a")])
        row = claim_one(stores[0])
        ends: list[tuple[Store, State]] = [(stores[0], "succeeded"), (stores[1], "failed")]
        answers = together(lambda told: finish(told[0], row, told[1]), ends)
        assert answers == [True, True]
        (recorded,) = stores[0].attempts(["a"])
        assert (recorded.outcome == "success") == (look(stores[0], "a").state == "succeeded")

    # cancel

    def test_cancel_wins_over_another_try(self, store: Store, clock: FakeClock) -> None:
        store.post(jobs(2))
        retried, released = claim(store)
        store.change(names([retried, released]), Ask(kind="cancel", reason="no longer needed"))
        assert finish(store, retried, "scheduled", run_at=clock.now + SECOND)
        assert finish(store, released, "ready")
        for row in (retried, released):
            seen = look(store, row.job.id)
            assert (seen.state, seen.reason, seen.ended_at) == ("cancelled", "no longer needed", clock.now)
        assert len(store.attempts(names([retried, released]))) == 2
        clock.advance(60)
        assert claim(store) == []

    @pytest.mark.parametrize("state", sorted(FINAL - {"expired"}))
    def test_final_end_stands_against_a_cancel(self, store: Store, state: State) -> None:
        store.post([job("a")])
        row = claim_one(store)
        store.change(["a"], Ask(kind="cancel"))
        assert finish(store, row, state)
        seen = look(store, "a")
        assert (seen.state, seen.cancelling) == (state, False)
