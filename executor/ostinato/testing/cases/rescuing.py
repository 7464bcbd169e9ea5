"""Rescuing: taking over runs whose executor is gone."""

from __future__ import annotations

from ostinato.model import Row
from ostinato.storage import Ask, Rescue, Store
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import LEASE, attempt, claim, claim_one, finish, job, jobs, look, names
from ostinato.testing.setting import OpenStore, Setting
from ostinato.testing.threads import together


class RescuingCases(Setting):
    def test_nothing_to_rescue(self, store: Store, clock: FakeClock) -> None:
        store.post(jobs(2))
        finish(store, claim_one(store))
        clock.advance(3600)
        assert store.rescue("e2", Rescue(dead=("e1",))) == []

    def test_run_within_its_lease_is_left_alone(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a")])
        claim_one(store)
        clock.advance(29)
        assert store.rescue("e2", Rescue(dead=("e3",))) == []

    def test_run_whose_lease_ran_out_is_taken_over(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a")])
        row = claim_one(store)
        clock.advance(31)
        (rescued,) = store.rescue("e2", Rescue(lease=LEASE))
        assert (rescued.state, rescued.attempt, rescued.executor_id) == ("running", row.attempt, "e1")
        assert rescued.token > row.token
        seen = look(store, "a")
        assert (seen.executor_id, seen.fence, seen.lease_until) == ("e2", rescued.fence, clock.now + LEASE)

    def test_runs_of_the_dead_are_taken_over_at_once(self, store: Store) -> None:
        store.post(jobs(3))
        claim(store, "e1", count=1)
        claim(store, "e2", count=1)
        claim(store, "e3", count=1)
        rows = store.rescue("e4", Rescue(dead=("e1", "e3")))
        assert sorted((row.job.id, row.executor_id) for row in rows) == [("j0000", "e1"), ("j0002", "e3")]

    def test_count_is_not_exceeded(self, store: Store) -> None:
        store.post(jobs(5))
        claim(store)
        first = store.rescue("e2", Rescue(dead=("e1",), count=3))
        rest = store.rescue("e2", Rescue(dead=("e1",), count=3))
        assert (len(first), len(rest)) == (3, 2)
        assert len(set(names(first + rest))) == 5

    def test_rescuer_finishes(self, store: Store) -> None:
        store.post([job("a")])
        claim_one(store)
        (rescued,) = store.rescue("e2", Rescue(dead=("e1",)))
        assert finish(store, rescued, "ready", deaths=1, attempt=attempt(rescued, "lost"))
        assert store.attempts(["a"]) == [attempt(rescued, "lost")]
        again = claim_one(store, "e3")
        assert (again.attempt, again.deaths) == (2, 1)
        assert again.token > rescued.token

    def test_rescuer_may_die_too(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a")])
        claim_one(store)
        (first,) = store.rescue("e2", Rescue(dead=("e1",), lease=LEASE))
        clock.advance(31)
        (second,) = store.rescue("e3", Rescue())
        assert (second.executor_id, second.attempt) == ("e2", 1)
        assert second.token > first.token
        assert not finish(store, first, "failed")
        assert finish(store, second, "failed")

    def test_cancel_is_kept_for_the_rescuer(self, store: Store) -> None:
        store.post([job("a")])
        claim_one(store)
        store.change(["a"], Ask(kind="cancel"))
        (rescued,) = store.rescue("e2", Rescue(dead=("e1",)))
        assert rescued.cancelling
        finish(store, rescued, "ready")
        assert look(store, "a").state == "cancelled"

    def test_many_rescuers_never_share_a_run(self, open_store: OpenStore) -> None:
        stores = [open_store() for _ in range(4)]
        stores[0].post(jobs(20))
        claim(stores[0])

        def take_over(store: Store) -> list[Row]:
            return store.rescue(f"rescuer{stores.index(store)}", Rescue(dead=("e1",), count=20))

        shares = together(take_over, stores)
        assert sorted(row.job.id for share in shares for row in share) == [made.id for made in jobs(20)]
