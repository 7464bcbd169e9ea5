"""Capacity: holds of running jobs never sum above what there is."""

from __future__ import annotations

from ostinato.model import HIGH
from ostinato.storage import Rescue, Store
from ostinato.testing.samples import claim, claim_one, finish, job, jobs, names
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

    def test_undeclared_hold_is_never_claimed(self, store: Store) -> None:
        store.post([job("a", holds=GPU)])
        assert claim(store) == []
        store.limit({"gpu": 1})
        assert names(claim(store)) == ["a"]

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
