"""Claiming: who gets which job, in which order, and only one gets it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ostinato.model import HIGH, LOW, NORMAL, Row
from ostinato.storage import Store
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import LEASE, claim, claim_one, finish, job, jobs, look, names, want
from ostinato.testing.setting import OpenStore, Setting
from ostinato.testing.threads import together


class ClaimingCases(Setting):
    def test_nothing_to_claim(self, store: Store, clock: FakeClock) -> None:
        claimed = store.claim("e1", want())
        assert (claimed.rows, claimed.now, claimed.next_at, claimed.expired) == ([], clock.now, None, [])

    def test_claim_starts_a_run(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a")])
        row = claim_one(store, "e7")
        assert (row.state, row.attempt, row.token, row.executor_id) == ("running", 1, 1, "e7")
        assert (row.started_at, row.lease_until) == (clock.now, clock.now + LEASE)
        assert row == look(store, "a")

    def test_each_claim_raises_attempt_and_token(self, store: Store) -> None:
        store.post([job("a")])
        first = claim_one(store)
        finish(store, first, "ready")
        second = claim_one(store)
        assert second.attempt == first.attempt + 1
        assert second.token > first.token

    def test_running_job_is_not_claimed_again(self, store: Store, clock: FakeClock) -> None:
        """Not even when its lease ran out: that is the business of rescue."""
        store.post([job("a")])
        claim_one(store)
        clock.advance(3600)
        assert claim(store, "e2") == []

    def test_highest_priority_first(self, store: Store) -> None:
        store.post([job("low", priority=LOW), job("7", priority=7), job("normal"), job("high", priority=HIGH)])
        assert names(claim(store)) == ["high", "7", "normal", "low"]

    def test_priority_is_strict_across_tasks_and_queues(self, store: Store) -> None:
        store.post([job("a1"), job("b2", task="other", priority=2), job("c1", queue="q"), job("a3", priority=3)])
        store.post([job("b1", task="other"), job("c2", queue="q", priority=2)])
        rows = claim(store, tasks={"work": 1, "other": 1}, queues=("default", "q"))
        assert names(rows) == ["a3", "b2", "c2", "a1", "c1", "b1"]

    def test_priority_of_the_end_counts_after_a_retry(self, store: Store) -> None:
        store.post([job("sunk"), job("other")])
        finish(store, claim_one(store), "ready", priority=NORMAL - 1)
        assert names(claim(store)) == ["other", "sunk"]

    def test_retried_job_keeps_its_place_among_equals(self, store: Store) -> None:
        store.post(jobs(3))
        finish(store, claim_one(store), "ready")
        assert names(claim(store)) == names_of(3)

    def test_count_is_not_exceeded(self, store: Store) -> None:
        store.post(jobs(5))
        assert names(claim(store, count=2)) == names_of(2)
        assert names(claim(store)) == names_of(5)[2:]

    def test_unknown_task_is_left_to_others(self, store: Store) -> None:
        store.post([job("a", task="unknown"), job("b")])
        assert names(claim(store)) == ["b"]
        assert names(claim(store, tasks={"unknown": 1})) == ["a"]

    def test_version_newer_than_known_is_left_to_others(self, store: Store) -> None:
        store.post([job("v1", version=1), job("v2", version=2), job("v3", version=3)])
        assert names(claim(store, tasks={"work": 2})) == ["v1", "v2"]
        assert names(claim(store, tasks={"work": 3})) == ["v3"]

    def test_other_queue_is_left_to_others(self, store: Store) -> None:
        store.post([job("a", queue="mail"), job("b")])
        assert names(claim(store)) == ["b"]
        assert names(claim(store, queues=("mail",))) == ["a"]

    def test_queues_by_glob(self, store: Store) -> None:
        store.post([job("eu", queue="mail.eu"), job("us", queue="mail.us"), job("x", queue="mailbox"), job("d")])
        assert names(claim(store, queues=("mail.?u", "nothing"))) == ["eu"]
        assert names(claim(store, queues=("mail.[a-z]s", "def*"))) == ["us", "d"]
        assert names(claim(store, queues=("*",))) == ["x"]

    def test_queue_names_tell_case(self, store: Store) -> None:
        store.post([job("a", queue="Mail")])
        assert claim(store, queues=("mail", "m*")) == []
        assert names(claim(store, queues=("M*",))) == ["a"]

    def test_task_names_tell_case(self, store: Store) -> None:
        store.post([job("a", task="Work")])
        assert claim(store) == []

    def test_many_unclaimable_jobs_ahead_do_not_block(self, store: Store) -> None:
        store.post(jobs(500, "unknown", task="unknown", priority=HIGH))
        store.post(jobs(500, "held", holds=(("nobody has it", 1),), priority=HIGH))
        store.post(jobs(500, "paused", queue="paused", priority=HIGH))
        store.limit({"queue:paused": 0})
        store.post([job("mine", priority=LOW)])
        assert names(claim(store, queues=("*",), count=1)) == ["mine"]

    # slots

    def test_slots_are_not_exceeded(self, store: Store) -> None:
        store.post([job("a", slots=2), job("b", slots=2), job("c", slots=2)])
        assert names(claim(store, slots=4, capacity=4)) == ["a", "b"]

    def test_no_free_slot_no_job(self, store: Store) -> None:
        store.post([job("a")])
        assert claim(store, slots=0, capacity=4) == []

    def test_heavy_job_holds_back_those_behind_it(self, store: Store) -> None:
        """Else light jobs would take every slot that falls free, and it would never start."""
        store.post([job("light"), job("heavy", slots=3), job("behind")])
        assert names(claim(store, slots=3, capacity=4)) == ["light"]
        assert names(claim(store, slots=3, capacity=4)) == ["heavy"]
        assert names(claim(store, slots=1, capacity=4)) == ["behind"]

    def test_heavy_job_is_overtaken_by_higher_priority_only(self, store: Store) -> None:
        store.post([job("heavy", slots=4), job("light"), job("urgent", priority=HIGH)])
        assert names(claim(store, slots=2, capacity=4)) == ["urgent"]

    def test_job_too_heavy_for_this_executor_is_passed_over(self, store: Store) -> None:
        store.post([job("giant", slots=5, priority=HIGH), job("light")])
        assert names(claim(store, slots=4, capacity=4)) == ["light"]
        assert names(claim(store, slots=8, capacity=8)) == ["giant"]

    def test_heavy_job_that_cannot_run_anyway_reserves_nothing(self, store: Store) -> None:
        store.limit({"gpu": 0})
        store.post([job("heavy", slots=3, holds=(("gpu", 1),)), job("light")])
        assert names(claim(store, slots=2, capacity=4)) == ["light"]

    # one job, one claim

    def test_many_claimers_never_share_a_job(self, open_store: OpenStore) -> None:
        stores = [open_store() for _ in range(4)]
        stores[0].post(jobs(60))

        def drain(store: Store) -> list[Row]:
            taken: list[Row] = []
            while rows := claim(store, count=3):
                taken += rows
            return taken

        shares = together(drain, stores)
        assert sorted(row.job.id for share in shares for row in share) == names_of(60)
        assert {row.token for share in shares for row in share} == {1}

    def test_poster_and_claimers_at_once_lose_nothing(self, open_store: OpenStore) -> None:
        poster, *claimers = [open_store() for _ in range(3)]

        def post_all() -> list[str]:
            for made in jobs(30):
                poster.post([made])
            return []

        def take_some(store: Store) -> list[str]:
            return [name for _ in range(30) for name in names(claim(store, count=2))]

        acts: list[Callable[[], list[str]]] = [post_all, *(partial(take_some, store) for store in claimers)]
        shares = together(lambda act: act(), acts)
        taken = [name for share in shares for name in share] + names(claim(poster))
        assert sorted(taken) == names_of(30)


def names_of(count: int) -> list[str]:
    return [made.id for made in jobs(count)]
