"""Unique keys: at most one live job each."""

from __future__ import annotations

from typing import Any

import pytest

from ostinato.errors import AlreadyPosted
from ostinato.model import HIGH, SECOND, Job, State, Unique
from ostinato.storage import Ask, JobQuery, Posted, Store
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import HOSTILE, bring_to, claim, claim_one, end, exists, finish, job, look, names
from ostinato.testing.setting import OpenStore, Setting
from ostinato.testing.threads import together


def keyed(job_id: str, key: str = "k", **fields: Any) -> Job:
    rule = {name: fields.pop(name) for name in ("until", "period", "on_conflict") if name in fields}
    return job(job_id, unique=Unique(key, **rule), **fields)


class UniqueCases(Setting):
    def test_twin_is_the_answer(self, store: Store) -> None:
        assert store.post([keyed("a", args='{"n":1}')]) == [Posted("a", True)]
        assert store.post([keyed("b", args='{"n":2}')]) == [Posted("a", False)]
        assert not exists(store, "b")
        assert look(store, "a").job == keyed("a", args='{"n":1}')

    def test_other_keys_and_jobs_without_one_are_not_touched(self, store: Store) -> None:
        store.post([keyed("a"), keyed("b", key="K"), job("c"), keyed("d", key="k ")])
        assert names(claim(store)) == ["a", "b", "c", "d"]

    @pytest.mark.parametrize("key", [*HOSTILE, "x" * 255])
    def test_any_text_is_a_key(self, store: Store, key: str) -> None:
        assert store.post([keyed("a", key=key), keyed("b", key=key)]) == [Posted("a", True), Posted("a", False)]

    def test_twins_within_one_post(self, store: Store) -> None:
        answers = store.post([keyed("a"), job("x"), keyed("b"), job("y")])
        assert answers == [Posted("a"), Posted("x"), Posted("a", False), Posted("y")]
        assert names(claim(store)) == ["a", "x", "y"]

    def test_same_id_again_is_the_job_itself(self, store: Store) -> None:
        store.post([keyed("a")])
        assert store.post([keyed("a", on_conflict="raise")]) == [Posted("a", False)]

    @pytest.mark.parametrize("state", ["scheduled", "ready", "running"])
    def test_held_until_finished(self, store: Store, clock: FakeClock, state: State) -> None:
        store.post([keyed("a", run_at=clock.now + SECOND if state == "scheduled" else 0)])
        if state == "running":
            claim_one(store)
        assert store.post([keyed("b")]) == [Posted("a", False)]

    def test_held_by_a_job_that_is_tried_again(self, store: Store) -> None:
        store.post([keyed("a")])
        finish(store, claim_one(store), "ready")
        assert store.post([keyed("b")]) == [Posted("a", False)]

    @pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
    def test_free_once_finished(self, store: Store, state: State) -> None:
        store.post([keyed("a")])
        finish(store, claim_one(store), state)
        assert store.post([keyed("b")]) == [Posted("b", True)]
        assert store.post([keyed("c")]) == [Posted("b", False)]

    def test_replaced_by_one_of_another_kind_it_is_claimed_as_that(self, store: Store) -> None:
        store.post([keyed("a"), keyed("b", task="other", queue="elsewhere", slots=2, on_conflict="replace")])
        assert claim(store) == []
        row = claim_one(store, tasks={"work": 1, "other": 1}, queues=("*",))
        assert (row.job.id, row.job.task) == ("a", "other")
        assert claim(store, tasks={"work": 1, "other": 1}, queues=("*",)) == []

    def test_free_once_cancelled_in_line_or_expired(self, store: Store, clock: FakeClock) -> None:
        store.post([keyed("a"), keyed("x", key="x", expires_at=clock.now)])
        store.change(["a"], Ask(kind="cancel"))
        claim(store)
        assert store.post([keyed("b"), keyed("y", key="x")]) == [Posted("b"), Posted("y")]

    def test_held_until_started(self, store: Store) -> None:
        store.post([keyed("a", until="started")])
        assert store.post([keyed("b", until="started")]) == [Posted("a", False)]
        row = claim_one(store)
        assert store.post([keyed("c", until="started")]) == [Posted("c", True)]
        finish(store, row, "ready")  # one that is tried again was started
        assert store.post([keyed("d", until="started")]) == [Posted("c", False)]

    def test_held_for_a_period(self, store: Store, clock: FakeClock) -> None:
        store.post([keyed("a", period=2.5)])
        finish(store, claim_one(store))
        clock.advance(2.499_999)
        assert store.post([keyed("b")]) == [Posted("a", False)]
        clock.advance(0.000_001)
        assert store.post([keyed("c")]) == [Posted("c", True)]

    def test_refused_post_stores_nothing(self, store: Store) -> None:
        store.post([keyed("a")])
        with pytest.raises(AlreadyPosted) as caught:
            store.post([job("x"), keyed("b", on_conflict="raise"), keyed("y", key="y")])
        assert (caught.value.key, caught.value.job_id) == ("k", "a")
        assert not exists(store, "x")
        assert store.post([keyed("z", key="y")]) == [Posted("z", True)]

    def test_replacing_keeps_the_id_and_the_place(self, store: Store, clock: FakeClock) -> None:
        store.post([keyed("a", args='{"n":1}', tags=("old", "both")), job("x")])
        posted_at = clock.now
        clock.advance(5)
        new = keyed("b", args='{"n":2}', tags=("both", "new"), on_conflict="replace")
        assert store.post([new]) == [Posted("a", False)]
        row = look(store, "a")
        assert (row.job.args, row.job.tags, row.posted_at) == ('{"n":2}', ("both", "new"), posted_at)
        assert [names(store.find(JobQuery(tag=tag)).rows) for tag in ("old", "both", "new")] == [[], ["a"], ["a"]]
        assert not exists(store, "b")
        assert names(claim(store)) == ["a", "x"]

    def test_replacing_changes_when_where_and_how(self, store: Store, clock: FakeClock) -> None:
        store.post([job("x"), keyed("a", run_at=clock.now + SECOND), keyed("c", key="c")])
        store.post([keyed("b", priority=HIGH, on_conflict="replace")])
        store.post([keyed("d", key="c", run_at=clock.now + 5 * SECOND, queue="q", slots=2, on_conflict="replace")])
        assert (look(store, "c").state, look(store, "c").job.slots) == ("scheduled", 2)
        assert names(claim(store)) == ["a", "x"]
        clock.advance(5)
        assert names(claim(store)) == []
        assert names(claim(store, queues=("q",))) == ["c"]

    def test_replacing_sets_a_new_expiry(self, store: Store, clock: FakeClock) -> None:
        store.post([keyed("a", expires_at=clock.now + 10 * SECOND), keyed("x", key="x")])
        store.post([keyed("b", on_conflict="replace")])
        store.post([keyed("y", key="x", expires_at=clock.now + 5 * SECOND, on_conflict="replace")])
        clock.advance(10)
        assert names(claim(store)) == ["a"]
        assert look(store, "x").state == "expired"

    def test_replacing_within_one_post(self, store: Store) -> None:
        answers = store.post([keyed("a", args="1"), job("x"), keyed("b", args="2", on_conflict="replace")])
        assert answers == [Posted("a"), Posted("x"), Posted("a", False)]
        assert look(store, "a").job.args == "2"
        assert names(claim(store)) == ["a", "x"]

    def test_what_has_begun_is_not_replaced(self, store: Store) -> None:
        store.post([keyed("a", args="1")])
        row = claim_one(store)
        assert store.post([keyed("b", args="2", on_conflict="replace")]) == [Posted("a", False)]
        finish(store, row, "ready")
        assert store.post([keyed("c", args="3", on_conflict="replace")]) == [Posted("a", False)]
        assert look(store, "a").job.args == "1"

    def test_follow_ups_and_ticks_have_keys_too(self, store: Store) -> None:
        store.post([keyed("a"), job("x")])
        assert store.tick("s", 1, [keyed("b")])
        (x,) = claim(store)[1:]
        assert store.finish([end(x, posts=(keyed("c"), keyed("d", key="d")))]) == [True]
        assert [exists(store, name) for name in "bcd"] == [False, False, True]
        with pytest.raises(AlreadyPosted):
            store.tick("s", 2, [keyed("e", on_conflict="raise")])
        assert store.tick("s", 2, [])

    def test_rerun_takes_the_key_back(self, store: Store) -> None:
        store.post([keyed("a")])
        finish(store, claim_one(store), "failed")
        (changed,) = store.change(["a"], Ask(kind="rerun"))
        assert changed.after == "ready"
        assert store.post([keyed("b")]) == [Posted("a", False)]

    def test_rerun_is_refused_while_another_holds_the_key(self, store: Store) -> None:
        store.post([keyed("a")])
        finish(store, claim_one(store), "failed")
        store.post([keyed("b")])
        (changed,) = store.change(["a"], Ask(kind="rerun"))
        assert (changed.before, changed.after) == ("failed", "failed")
        store.change(["b"], Ask(kind="cancel"))
        (changed,) = store.change(["a"], Ask(kind="rerun"))
        assert changed.after == "ready"

    def test_only_one_of_two_reruns_takes_the_key(self, store: Store) -> None:
        for name in "ab":
            store.post([keyed(name)])
            finish(store, claim_one(store), "failed")
        changed = store.change(["a", "b"], Ask(kind="rerun"))
        assert [one.after for one in changed] == ["ready", "failed"]

    def test_forgotten_job_gives_its_key_back(self, store: Store, clock: FakeClock) -> None:
        store.post([keyed("a", period=100.0)])
        finish(store, claim_one(store))
        store.change(["a"], Ask(kind="forget"))
        assert store.post([keyed("a")]) == [Posted("a", True)]
        bring_to(store, "other", "ready")
        assert store.post([keyed("b")]) == [Posted("a", False)]

    def test_posted_by_many_at_once_is_created_once(self, open_store: OpenStore) -> None:
        stores = [open_store() for _ in range(4)]
        keys = [f"k{n}" for n in range(5)]
        answers = together(
            lambda n: stores[n].post([keyed(f"{n}-{key}", key=key) for key in (keys if n % 2 else keys[::-1])]),
            range(4),
        )
        assert sum(posted.created for answer in answers for posted in answer) == len(keys)
        winners = {posted.id.partition("-")[2]: posted.id for answer in answers for posted in answer if posted.created}
        assert all(winners[posted.id.partition("-")[2]] == posted.id for answer in answers for posted in answer)
