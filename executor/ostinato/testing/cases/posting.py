"""Posting: all or none, once, in order; ticks post once."""

from __future__ import annotations

from contextlib import suppress

from ostinato.model import HIGH, LOW, NORMAL, SECOND
from ostinato.storage import Posted, Store
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import claim, claim_one, exists, finish, job, jobs, look, names
from ostinato.testing.setting import OpenStore, Setting
from ostinato.testing.threads import together


class PostingCases(Setting):
    def test_says_what_a_post_survives(self, store: Store) -> None:
        assert store.durable
        assert isinstance(store.durable, str)

    def test_now_is_the_clock(self, store: Store, clock: FakeClock) -> None:
        assert store.now() == clock.now
        clock.advance(5)
        assert store.now() == clock.now

    def test_posted_job_is_ready(self, store: Store, clock: FakeClock) -> None:
        assert store.post([job("a")]) == [Posted("a", True)]
        row = look(store, "a")
        assert (row.state, row.attempt, row.token, row.posted_at) == ("ready", 0, 0, clock.now)

    def test_posting_nothing_is_fine(self, store: Store) -> None:
        assert store.post([]) == []

    def test_jobs_are_seen_by_other_stores(self, store: Store, open_store: OpenStore) -> None:
        store.post([job("a")])
        assert exists(open_store(), "a")

    def test_all_or_none(self, store: Store) -> None:
        """A text that cannot be encoded is the one fault that every value type lets through:
        a store may take it or refuse it, but not half of the batch."""
        with suppress(Exception):
            store.post([job("good"), job("bad", args="\ud800"), job("last")])
        assert len({exists(store, "good"), exists(store, "last")}) == 1

    def test_known_id_is_left_as_it_is(self, store: Store) -> None:
        store.post([job("a", args='{"n":1}')])
        assert store.post([job("a", args='{"n":2}'), job("b")]) == [Posted("a", False), Posted("b", True)]
        assert look(store, "a").job.args == '{"n":1}'

    def test_id_of_an_ended_job_is_known_too(self, store: Store) -> None:
        store.post([job("a")])
        finish(store, claim_one(store))
        assert store.post([job("a")]) == [Posted("a", False)]
        assert look(store, "a").state == "succeeded"

    def test_same_id_twice_in_one_post(self, store: Store) -> None:
        assert store.post([job("a"), job("a")]) == [Posted("a", True), Posted("a", False)]
        assert names(claim(store)) == ["a"]

    def test_same_id_posted_by_many_at_once_is_created_once(self, open_store: OpenStore) -> None:
        stores = [open_store() for _ in range(4)]
        answers = together(lambda store: store.post(jobs(5)), stores)
        created = [posted.id for answer in answers for posted in answer if posted.created]
        assert sorted(created) == [posted.id for posted in jobs(5)]

    def test_order_of_posting_is_kept(self, store: Store) -> None:
        store.post([job("c"), job("a")])
        store.post([job("b")])
        assert names(claim(store)) == ["c", "a", "b"]

    def test_front_job_goes_before_all_of_its_priority_newest_first(self, store: Store) -> None:
        store.post([job("old")])
        store.post([job("front", front=True)])
        store.post([job("newest", front=True)])
        store.post([job("late"), job("high", priority=HIGH)])
        assert names(claim(store)) == ["high", "newest", "front", "old", "late"]

    def test_front_does_not_beat_priority(self, store: Store) -> None:
        store.post([job("low", priority=LOW, front=True), job("normal", priority=NORMAL)])
        assert names(claim(store)) == ["normal", "low"]

    def test_job_of_the_future_is_scheduled(self, store: Store, clock: FakeClock) -> None:
        store.post([job("later", run_at=clock.now + SECOND), job("now", run_at=clock.now), job("past", run_at=1)])
        assert [look(store, name).state for name in ("later", "now", "past")] == ["scheduled", "ready", "ready"]

    # ticks

    def test_tick_posts_once(self, store: Store, open_store: OpenStore) -> None:
        assert store.tick("nightly", 100, [job("a")]) is True
        assert open_store().tick("nightly", 100, [job("b")]) is False
        assert names(claim(store)) == ["a"]

    def test_ticks_only_go_forward(self, store: Store) -> None:
        assert store.tick("nightly", 200, [job("a")])
        assert not store.tick("nightly", 100, [job("b")])
        assert not store.tick("nightly", 200, [job("c")])
        assert store.tick("nightly", 201, [job("d")])
        assert names(claim(store)) == ["a", "d"]

    def test_newest_ticks_are_told(self, store: Store, open_store: OpenStore) -> None:
        assert store.ticks() == {}
        store.tick("nightly", 2**52, [])
        store.tick("hourly", 7, [])
        store.tick("hourly", 9, [])
        assert open_store().ticks() == {"nightly": 2**52, "hourly": 9}

    def test_ticks_of_other_times_and_schedules_are_others(self, store: Store) -> None:
        assert store.tick("nightly", 100, [job("a")])
        assert store.tick("nightly", 200, [job("b")])
        assert store.tick("hourly", 100, [job("c")])
        assert names(claim(store)) == ["a", "b", "c"]

    def test_tick_without_jobs_is_recorded(self, store: Store) -> None:
        assert store.tick("nightly", 100, [])
        assert not store.tick("nightly", 100, [job("a")])
        assert not exists(store, "a")

    def test_tick_by_many_at_once_posts_once(self, open_store: OpenStore) -> None:
        stores = [open_store() for _ in range(4)]
        won = together(lambda n: stores[n].tick("nightly", 7, [job(f"by{n}")]), range(4))
        assert sorted(won) == [False, False, False, True]
        assert names(claim(stores[0])) == [f"by{won.index(True)}"]
