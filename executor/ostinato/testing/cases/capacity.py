"""Capacity: holds of running jobs never sum above what there is."""

from __future__ import annotations

import pytest

from ostinato.model import HIGH, SECOND
from ostinato.storage import Rate, Rescue, Store, TellsPaces
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import claim, claim_one, finish, job, jobs, names, want
from ostinato.testing.setting import OpenStore, Setting
from ostinato.testing.threads import together

GPU = (("gpu", 1),)


class CapacityCases(Setting):
    def test_queue_is_paused_by_0_and_resumed_by_none(self, store: Store) -> None:
        store.post([job("a"), job("b", queue="other")])
        store.limit({"queue:default": 0})
        assert names(claim(store, queues=("*",))) == ["b"]
        store.limit({"queue:default": None})
        assert names(claim(store)) == ["a"]

    def test_pause_is_seen_by_other_stores(self, store: Store, open_store: OpenStore) -> None:
        store.limit({"queue:default": 0})
        store.post([job("a")])
        assert claim(open_store()) == []

    def test_a_change_by_another_store_is_seen_by_one_that_knew_the_limit(
        self, store: Store, open_store: OpenStore
    ) -> None:
        other = open_store()
        store.post([job(name, holds=((f"key:{name}", 1),)) for name in "abc"])
        store.limit({"key:a": 0, "key:b": 0})
        assert names(claim(store)) == ["c"]
        assert claim(store) == []
        other.limit({"key:a": 1})
        assert names(claim(store)) == ["a"]
        other.limit({"key:b": None})
        assert names(claim(store)) == ["b"]
        other.limit({"key:d": 0})
        store.post([job("d", holds=(("key:d", 1),))])
        assert claim(store) == []

    def test_what_was_full_has_room_again(self, store: Store) -> None:
        """However often a claim has met it full, and whatever its jobs hold besides."""
        store.limit({"key:a": 1, "gpu": 2})
        store.post([job("g", holds=(("gpu", 2),)), job("x", holds=(("key:a", 1),)), job("y", holds=(("key:a", 1),))])
        store.post([job("z", holds=(("key:a", 1), ("gpu", 1)))])
        gpu, first = claim(store)
        assert claim(store) == claim(store) == []
        finish(store, first)
        second = claim_one(store)
        finish(store, second)
        assert (second.job.id, claim(store)) == ("y", [])
        store.post([job("w", holds=(("key:a", 1),), priority=-1)])
        third = claim_one(store)
        finish(store, gpu)
        assert (third.job.id, claim(store)) == ("w", [])
        finish(store, third)
        assert names(claim(store)) == ["z"]

    def test_pausing_leaves_running_jobs_alone(self, store: Store) -> None:
        store.post([job("a")])
        row = claim_one(store)
        store.limit({"queue:default": 0})
        assert finish(store, row)

    def test_queue_limit_counts_running_jobs(self, store: Store) -> None:
        store.limit({"queue:default": 2})
        store.post(jobs(4))
        first, _ = claim(store)
        assert claim(store, "e2") == []
        finish(store, first)
        assert names(claim(store, "e2")) == ["j0002"]

    def test_one_limit_leaves_the_others(self, store: Store) -> None:
        store.limit({"queue:a": 0})
        store.limit({"queue:b": 0})
        store.post([job("a", queue="a"), job("b", queue="b")])
        assert claim(store, queues=("*",)) == []

    def test_tasks_have_limits_too(self, store: Store) -> None:
        store.limit({"task:work": 1})
        store.post([*jobs(2), job("x", task="other"), job("y", task="other")])
        row, *others = claim(store, tasks={"work": 1, "other": 1})
        assert names([row, *others]) == ["j0000", "x", "y"]
        store.limit({"task:work": 0, "task:other": 0})
        finish(store, row)
        store.post([job("z", task="other")])
        assert claim(store, tasks={"work": 1, "other": 1}) == []
        store.limit({"task:work": None})
        assert names(claim(store, tasks={"work": 1, "other": 1})) == ["j0001"]

    def test_limits_are_told(self, store: Store, open_store: OpenStore) -> None:
        store.limit({"a": 1, "b": 0})
        store.limit({"a": 5, "c": None}, {"r": Rate(2, SECOND)})
        other = open_store()
        assert (other.limits(), other.rates()) == ({"a": 5, "b": 0}, {"r": Rate(2, SECOND)})
        other.limit({}, {"r": None})
        assert (store.limits(), store.rates()) == ({"a": 5, "b": 0}, {})

    # rates

    def test_no_more_start_than_the_rate_says(self, store: Store, clock: FakeClock) -> None:
        store.limit({}, {"queue:default": Rate(3, 10 * SECOND)})
        store.post(jobs(9))
        first = claim(store)
        assert names(first) == ["j0000", "j0001", "j0002"]
        for row in first:
            finish(store, row)  # it is the starts that count
        clock.advance(9.999_999)
        assert claim(store) == []
        clock.advance(0.000_001)
        assert names(claim(store)) == ["j0003", "j0004", "j0005"]

    def test_rate_is_a_sliding_window(self, store: Store, clock: FakeClock) -> None:
        store.limit({}, {"task:work": Rate(2, 10 * SECOND)})
        store.post(jobs(4))
        claim_one(store)
        clock.advance(6)
        claim_one(store)
        clock.advance(4)
        assert names(claim(store)) == ["j0002"]
        clock.advance(5.999_999)
        assert claim(store) == []
        clock.advance(0.000_001)
        assert names(claim(store)) == ["j0003"]

    def test_claim_tells_when_the_rate_gives_again(self, store: Store, clock: FakeClock) -> None:
        store.limit({}, {"queue:default": Rate(1, 10 * SECOND)})
        store.post([*jobs(2), job("later", queue="other", run_at=clock.now + 100 * SECOND)])
        begun = clock.now
        claim_one(store)
        clock.advance(3)
        assert store.claim("e1", want()).next_at == begun + 10 * SECOND
        clock.advance(7)
        assert names(claim(store)) == ["j0001"]
        assert store.claim("e1", want()).next_at == begun + 100 * SECOND

    def test_what_a_rate_holds_back_does_not_hold_back_others(self, store: Store) -> None:
        store.limit({}, {"queue:slow": Rate(1, SECOND)})
        store.post([*jobs(3, queue="slow", priority=HIGH), job("free")])
        assert names(claim(store, queues=("*",))) == ["j0000", "free"]

    def test_rate_of_a_key_that_jobs_hold(self, store: Store, clock: FakeClock) -> None:
        store.limit({"customer": 100}, {"customer": Rate(2, SECOND)})
        store.post(jobs(3, holds=(("customer", 5),)))
        assert names(claim(store)) == ["j0000", "j0001"]
        clock.advance(1)
        assert names(claim(store)) == ["j0002"]

    def test_capacity_and_rate_both_hold(self, store: Store, clock: FakeClock) -> None:
        store.limit({"queue:default": 1}, {"queue:default": Rate(2, SECOND)})
        store.post(jobs(3))
        finish(store, claim_one(store))
        finish(store, claim_one(store))
        assert claim(store) == []
        clock.advance(1)
        assert names(claim(store)) == ["j0002"]

    def test_removed_and_changed_rates(self, store: Store, clock: FakeClock) -> None:
        store.limit({}, {"queue:default": Rate(1, 10 * SECOND)})
        store.post(jobs(4))
        claim_one(store)
        store.limit({}, {"queue:default": Rate(2, 10 * SECOND)})
        assert names(claim(store)) == ["j0001"]
        store.limit({}, {"queue:default": None})
        assert names(claim(store)) == ["j0002", "j0003"]

    def test_a_removed_rate_forgets_the_starts_that_it_counted(self, store: Store, clock: FakeClock) -> None:
        rate = {"queue:default": Rate(1, 10 * SECOND)}
        store.post(jobs(4))
        store.limit({"queue:default": 5}, rate)
        assert names(claim(store)) == ["j0000"]
        store.limit({}, {"queue:default": None})
        store.limit({}, rate)
        assert names(claim(store)) == ["j0001"]
        clock.advance(9)
        store.limit({}, rate)
        assert claim(store) == []

    def test_rate_is_not_exceeded_by_many_at_once(self, open_store: OpenStore) -> None:
        stores = [open_store() for _ in range(4)]
        stores[0].limit({}, {"queue:default": Rate(3, 10 * SECOND)})
        stores[0].post(jobs(12))
        shares = together(lambda store: claim(store, count=2), stores)
        late = claim(stores[0])
        assert sum(len(share) for share in [*shares, late]) == 3

    def test_undeclared_hold_is_never_claimed(self, store: Store) -> None:
        store.post([job("a", holds=GPU)])
        assert claim(store) == []
        store.limit({"gpu": 1})
        assert names(claim(store)) == ["a"]

    def test_key_has_no_bounds_unless_they_are_set(self, store: Store) -> None:
        store.post(jobs(3, holds=(("key:customer 7", 1),)))
        row = claim_one(store)
        store.limit({"key:customer 7": 1})
        assert claim(store) == []
        finish(store, row)
        assert names(claim(store)) == ["j0001"]

    def test_removed_capacity_has_none_to_give(self, store: Store) -> None:
        store.limit({"gpu": 1})
        store.limit({"gpu": None})
        store.post([job("a", holds=GPU)])
        assert claim(store) == []

    def test_units_are_not_exceeded(self, store: Store) -> None:
        store.limit({"gpu": 5})
        store.post([job("a", holds=(("gpu", 2),)), job("b", holds=(("gpu", 2),)), job("c", holds=(("gpu", 2),))])
        store.post([job("d", holds=GPU)])
        assert names(claim(store)) == ["a", "b", "d"]
        assert claim(store) == []

    def test_all_holds_must_fit(self, store: Store) -> None:
        store.limit({"gpu": 1, "disk": 0})
        store.post([job("both", holds=(("gpu", 1), ("disk", 1))), job("gpu", holds=GPU)])
        assert names(claim(store)) == ["gpu"]

    def test_hold_is_shared_among_tasks_and_queues(self, store: Store) -> None:
        store.limit({"gpu": 1})
        store.post([job("a", holds=GPU), job("b", task="other", queue="q", holds=GPU)])
        assert names(claim(store, tasks={"work": 1, "other": 1}, queues=("*",))) == ["a"]

    def test_held_back_job_does_not_hold_back_others(self, store: Store) -> None:
        store.limit({"gpu": 0})
        store.post([job("held", holds=GPU, priority=HIGH), job("free")])
        assert names(claim(store)) == ["free"]

    def test_units_are_free_after_any_finish(self, store: Store) -> None:
        store.limit({"gpu": 1})
        store.post(jobs(4, holds=GPU))
        for state in ("succeeded", "failed", "cancelled"):
            assert finish(store, claim_one(store), state)
        row = claim_one(store)
        assert finish(store, row, "ready")
        assert claim_one(store).job == row.job

    def test_units_stay_in_use_through_a_rescue(self, store: Store) -> None:
        store.limit({"gpu": 1})
        store.post(jobs(2, holds=GPU))
        claim_one(store)
        (rescued,) = store.rescue("e2", Rescue(dead=("e1",)))
        assert claim(store) == []
        finish(store, rescued, "failed")
        assert names(claim(store)) == ["j0001"]

    def test_stale_finish_frees_nothing(self, store: Store) -> None:
        store.limit({"gpu": 1})
        store.post(jobs(2, holds=GPU))
        zombie = claim_one(store)
        store.rescue("e2", Rescue(dead=("e1",)))
        assert not finish(store, zombie)
        assert claim(store) == []

    def test_lowered_capacity_counts_what_runs(self, store: Store) -> None:
        store.limit({"gpu": 3})
        store.post(jobs(5, holds=GPU))
        first, second, _ = claim(store, count=3)
        store.limit({"gpu": 2})
        finish(store, first)
        assert claim(store) == []
        finish(store, second)
        assert names(claim(store)) == ["j0003"]

    def test_units_are_not_exceeded_by_many_at_once(self, open_store: OpenStore) -> None:
        stores = [open_store() for _ in range(4)]
        stores[0].limit({"gpu": 3})
        stores[0].post(jobs(12, holds=GPU))

        shares = together(lambda store: claim(store, count=2), stores)
        late = claim(stores[0])  # a store may hand out less than all while others ask
        assert sum(len(share) for share in [*shares, late]) == 3

    def test_paces_tell_when_a_rate_lets_the_next_one_start(self, store: Store, clock: FakeClock) -> None:
        if not isinstance(store, TellsPaces):
            pytest.skip("this store does not tell its paces, which is optional")
        store.limit({}, {"queue:default": Rate(2, 10 * SECOND), "task:other": Rate(1, SECOND)})
        store.post(jobs(3))
        assert store.paces() == {}
        begun = clock.now
        claim(store, count=1)
        clock.advance(4)
        assert store.paces() == {}
        claim(store, count=1)
        assert store.paces() == {"queue:default": begun + 10 * SECOND}
        clock.advance(6)
        assert store.paces() == {}
        claim(store)
        assert store.paces() == {"queue:default": begun + 14 * SECOND}
        store.limit({}, {"queue:default": None, "gone": Rate(0, SECOND)})
        assert store.paces() == {"gone": clock.now + SECOND}
