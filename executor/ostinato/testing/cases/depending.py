"""Jobs that come after others: blocked until those have ended, and then released once."""

from __future__ import annotations

from typing import Any

import pytest

from ostinato.model import FINAL, SECOND, After, Job, State, Unique
from ostinato.storage import Ask, JobQuery, Posted, Record, Store
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import bring_to, claim, claim_one, end, exists, finish, job, jobs, look, names
from ostinato.testing.setting import OpenStore, Setting
from ostinato.testing.threads import together


def after(job_id: str, *others: str, **fields: Any) -> Job:
    rule = {name: fields.pop(name) for name in ("failure", "first") if name in fields}
    return job(job_id, after=After(others, **rule), **fields)


def states(store: Store, *ids: str) -> list[State]:
    return [look(store, job_id).state for job_id in ids]


class DependingCases(Setting):
    def test_blocked_until_the_other_has_succeeded(self, store: Store) -> None:
        store.post([job("a")])
        store.post([after("b", "a")])
        blocked = look(store, "b")
        assert (blocked.state, blocked.after) == ("blocked", After(("a",)))
        row = claim_one(store)
        assert claim(store) == []
        finish(store, row)
        released = claim_one(store)
        assert (released.job.id, released.after, released.attempt) == ("b", None, 1)
        assert released.job == after("b", "a")

    def test_within_one_post(self, store: Store) -> None:
        store.post([job("a"), after("b", "a"), after("c", "b")])
        assert states(store, "a", "b", "c") == ["ready", "blocked", "blocked"]
        for name in "abc":
            row = claim_one(store)
            assert row.job.id == name
            finish(store, row)
        assert claim(store) == []

    def test_one_that_comes_later_in_the_same_post_is_not_waited_for(self, store: Store) -> None:
        """Else two that name each other would wait for ever."""
        store.post([after("a", "b"), after("b", "a")])
        assert states(store, "a", "b") == ["ready", "blocked"]

    def test_all_of_several(self, store: Store) -> None:
        store.post([job("a"), job("b"), after("c", "a", "b")])
        first, second = claim(store)
        finish(store, second)
        assert look(store, "c").after == After(("a",))
        assert claim(store) == []
        finish(store, first)
        assert names(claim(store)) == ["c"]

    def test_any_one_of_several(self, store: Store) -> None:
        store.post([job("a"), job("b"), after("c", "a", "b", first=True)])
        first, second = claim(store)
        finish(store, second)
        row = claim_one(store)
        assert (row.job.id, row.after) == ("c", None)
        finish(store, row)
        finish(store, first)
        assert claim(store) == []
        assert look(store, "c").state == "succeeded"

    def test_diamond_is_released_once(self, store: Store) -> None:
        store.post([job("a"), after("b", "a"), after("c", "a"), after("d", "b", "c")])
        finish(store, claim_one(store))
        store.finish([end(row) for row in claim(store)])  # b and c in one call
        row = claim_one(store)
        assert (row.job.id, row.token) == ("d", 1)
        finish(store, row)
        assert claim(store) == []

    @pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled", "expired"])
    def test_after_one_that_has_ended_already(self, store: Store, state: State) -> None:
        bring_to(store, "a", state)
        store.post([after("b", "a"), after("c", "a", failure="run"), after("d", "a", failure="fail")])
        well = state == "succeeded"
        assert states(store, "b", "c", "d") == [
            "ready" if well else "cancelled",
            "ready",
            "ready" if well else "failed",
        ]
        if not well:
            assert "a" in look(store, "b").reason
            assert look(store, "d").ended_at == store.now()

    def test_after_one_that_is_not_known_any_more(self, store: Store) -> None:
        store.post([after("b", "long ago")])
        assert names(claim(store)) == ["b"]

    @pytest.mark.parametrize("state", ["failed", "cancelled"])
    def test_one_that_ends_without_success(self, store: Store, state: State) -> None:
        store.post([job("a"), job("other")])
        store.post([after("b", "a", "other"), after("c", "a", failure="run"), after("d", "a", "other", failure="fail")])
        finish(store, claim_one(store), state)
        assert states(store, "b", "c", "d") == ["cancelled", "ready", "failed"]
        row = look(store, "b")
        assert (row.ended_at, row.after) == (store.now(), None)
        assert "a" in row.reason
        assert state in row.reason

    def test_a_retry_is_no_end(self, store: Store) -> None:
        store.post([job("a"), after("b", "a")])
        finish(store, claim_one(store), "ready")
        assert states(store, "a", "b") == ["ready", "blocked"]

    def test_cancel_reaches_all_that_follow(self, store: Store) -> None:
        store.post([job("j0"), *[after(f"j{n}", f"j{n - 1}") for n in range(1, 1200)]])
        store.change(["j0"], Ask(kind="cancel", reason="why"))
        assert {one.state: one.jobs for one in store.count()} == {"cancelled": 1200}
        assert look(store, "j0").reason == "why"

    def test_expiry_is_an_end_too(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a", expires_at=clock.now + SECOND)])
        store.post([after("b", "a"), after("c", "a", failure="run")])
        clock.advance(1)
        assert names(claim(store)) == ["c"]
        assert states(store, "a", "b") == ["expired", "cancelled"]

    def test_blocked_job_expires(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a"), after("b", "a", expires_at=clock.now + SECOND)])
        clock.advance(1)
        (row,) = claim(store)
        finish(store, row)
        assert states(store, "a", "b") == ["succeeded", "expired"]

    def test_blocked_job_is_cancelled_at_once(self, store: Store) -> None:
        store.post([job("a"), after("b", "a")])
        (changed,) = store.change(["b"], Ask(kind="cancel"))
        assert (changed.before, changed.after) == ("blocked", "cancelled")
        finish(store, claim_one(store))
        assert states(store, "b") == ["cancelled"]

    def test_rerun_does_not_wait_again(self, store: Store) -> None:
        store.post([job("a"), after("b", "a")])
        store.change(["b"], Ask(kind="cancel"))
        store.change(["b"], Ask(kind="rerun"))
        assert look(store, "b").state == "ready"
        finish(store, claim_one(store))
        assert names(claim(store)) == ["b"]

    def test_released_for_a_later_time(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a"), after("b", "a", run_at=clock.now + 10 * SECOND)])
        finish(store, claim_one(store))
        assert look(store, "b").state == "scheduled"
        clock.advance(10)
        assert names(claim(store)) == ["b"]

    def test_order_and_deadline_are_those_of_the_post(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a"), after("b", "a"), job("c"), after("d", "a", promote_at=clock.now + SECOND)])
        finish(store, claim_one(store))
        clock.advance(1)
        assert names(claim(store)) == ["d", "b", "c"]

    def test_promotion_does_not_release(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a"), after("b", "a", promote_at=clock.now + SECOND)])
        clock.advance(1)
        row = claim_one(store)
        assert (look(store, "b").state, look(store, "b").after) == ("blocked", After(("a",)))
        finish(store, row)
        assert names(claim(store)) == ["b"]

    def test_posts_of_an_end_may_come_after_each_other(self, store: Store) -> None:
        store.post([job("a")])
        finish(store, claim_one(store), posts=(job("b"), after("c", "b")))
        assert states(store, "b", "c") == ["ready", "blocked"]

    def test_posts_of_an_end_may_come_after_the_ended_one(self, store: Store) -> None:
        store.post([job("a")])
        finish(store, claim_one(store), posts=(after("b", "a"),))
        assert names(claim(store)) == ["b"]

    def test_posted_again_it_is_left_alone(self, store: Store) -> None:
        store.post([job("a"), after("b", "a")])
        finish(store, claim_one(store))
        assert not store.post([after("b", "a")])[0].created
        assert names(claim(store)) == ["b"]

    def test_one_that_takes_anothers_place_waits_too(self, store: Store) -> None:
        store.post([job("a"), job("b", unique=Unique("k"))])
        rule = Unique("k", on_conflict="replace")
        assert store.post([after("c", "a", unique=rule)]) == [Posted("b", False)]
        assert (look(store, "b").state, look(store, "b").after) == ("blocked", After(("a",)))
        finish(store, claim_one(store))
        assert names(claim(store)) == ["b"]

    def test_found_by_state(self, store: Store) -> None:
        store.post([job("a"), after("b", "a")])
        assert names(store.find(JobQuery(states=("blocked",))).rows) == ["b"]
        assert {one.state for one in store.count()} == {"ready", "blocked"}

    def test_forgotten_with_what_it_waited_for(self, store: Store) -> None:
        store.post([job("a"), after("b", "a")])
        store.change(["b"], Ask(kind="cancel"))
        store.change(["b"], Ask(kind="forget"))
        finish(store, claim_one(store))
        assert not exists(store, "b")

    def test_loaded_with_what_it_waits_for(self, store: Store) -> None:
        store.post([job("x"), after("y", "x")])
        blocked = look(store, "y")
        store.change(["x", "y"], Ask(kind="cancel"))
        store.change(["x", "y"], Ask(kind="forget"))
        assert store.load([Record(blocked)]) == [True]
        assert look(store, "y") == blocked
        store.post([job("x")])
        finish(store, claim_one(store))
        assert names(claim(store)) == ["y"]

    def test_loaded_after_what_it_waits_for_has_ended(self, store: Store) -> None:
        store.post([job("x"), after("y", "x")])
        blocked = look(store, "y")
        store.change(["y"], Ask(kind="cancel"))
        store.change(["y"], Ask(kind="forget"))
        finish(store, claim_one(store))
        store.load([Record(blocked)])
        assert names(claim(store)) == ["y"]

    def test_many_that_end_at_once_release_once(self, open_store: OpenStore) -> None:
        """Each of them ends by a store of its own, and none sees that it is the last."""
        stores = [open_store() for _ in range(6)]
        for turn in range(8):
            row_ids = [f"{turn}-{n}" for n in range(6)]
            stores[0].post([*[job(one) for one in row_ids], after(f"{turn}-z", *row_ids)])
            rows = claim(stores[0], count=6)
            together(lambda pair: finish(pair[0], pair[1]), list(zip(stores, rows, strict=True)))
            last = claim_one(stores[0])
            assert last.job.id == f"{turn}-z"
            finish(stores[0], last)

    def test_a_post_while_the_other_ends_is_released(self, open_store: OpenStore) -> None:
        one, other = open_store(), open_store()
        for turn in range(12):
            one.post([job(f"{turn}-a")])
            row = claim_one(one)

            def post(turn: int = turn) -> None:
                other.post([after(f"{turn}-b", f"{turn}-a")])

            def settle(row: Any = row) -> None:
                finish(one, row)

            together(lambda work: work(), [post, settle])
            released = claim_one(one)
            assert released.job.id == f"{turn}-b"
            finish(one, released)

    def test_hears_of_a_release(self, store: Store) -> None:
        store.post([job("a"), after("b", "a")])
        row = claim_one(store)
        listener = store.listen(frozenset({"ready"}))
        finish(store, row)
        assert "ready" in listener.wait(5)
        listener.close()

    def test_thousands_wait_for_one(self, store: Store) -> None:
        store.post([job("a"), *[after(one.id, "a") for one in jobs(2000)]])
        finish(store, claim_one(store))
        assert len(claim(store, count=3000, slots=3000, capacity=3000)) == 2000
        assert not {look(store, "j0000").state} & FINAL
