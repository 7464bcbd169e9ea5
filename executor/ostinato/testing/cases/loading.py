"""Loading: jobs of another store, as they were there."""

from __future__ import annotations

from msgspec.structs import replace

from ostinato.model import SECOND, Backoff, Error, Policy, Row, Unique
from ostinato.storage import Ask, JobQuery, Note, Posted, Record, Store
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import attempt, bring_to, claim, claim_one, finish, job, look, names
from ostinato.testing.setting import Setting


def taken(store: Store) -> list[Record]:
    """All jobs of a store, oldest first."""
    rows = store.find(JobQuery(oldest_first=True, limit=1000)).rows
    return [Record(row, tuple(store.attempts([row.job.id]))) for row in rows]


def failed(job_id: str, now: int) -> Record:
    row = Row(
        job=job(job_id, tags=("t",), policy=Policy(max_attempts=3, backoff=Backoff(first=2.5))),
        state="failed",
        priority=-2,
        token=7,
        attempt=3,
        charged=2,
        deaths=1,
        executor_id="gone",
        posted_at=now - 50,
        started_at=now - 20,
        ended_at=now - 10,
        error=Error("ValueError", "no", "trace"),
        reason="no",
        progress="[1,2]",
        checkpoint='{"at":3}',
    )
    return Record(row, tuple(attempt(replace(row, attempt=n), "failure", log=f"log-{n}") for n in (1, 2, 3)))


class LoadingCases(Setting):
    def test_nothing(self, store: Store) -> None:
        assert store.load([]) == []

    def test_whole(self, store: Store, clock: FakeClock) -> None:
        record = failed("a", clock.now)
        assert store.load([record]) == [True]
        assert look(store, "a") == record.row
        assert store.attempts(["a"]) == list(record.attempts)
        assert names(store.find(JobQuery(tag="t", states=("failed",))).rows) == ["a"]

    def test_loading_leaves_a_known_id_as_it_is(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a")])
        assert store.load([failed("a", clock.now), failed("b", clock.now)]) == [False, True]
        assert store.load([failed("b", clock.now)]) == [False]
        assert look(store, "a").state == "ready"
        assert store.attempts(["a"]) == []
        assert len(store.attempts(["b"])) == 3

    def test_what_waits_is_claimed_in_order_with_higher_tokens(self, store: Store, clock: FakeClock) -> None:
        store.post([job("here")])
        rows = [Row(job=job(name), state="ready", priority=0, token=5, attempt=2, posted_at=1) for name in "ba"]
        high = Row(job=job("high"), state="ready", priority=100, posted_at=1)
        later = Row(job=job("later"), state="scheduled", priority=0, run_at=clock.now + SECOND, posted_at=1)
        store.load([Record(row) for row in (*rows, high, later)])
        claimed = claim(store)
        assert names(claimed) == ["high", "here", "b", "a"]
        assert [(row.token, row.attempt) for row in claimed] == [(1, 1), (1, 1), (6, 3), (6, 3)]
        clock.advance(SECOND)
        assert names(claim(store)) == ["later"]

    def test_expiry_in_force(self, store: Store, clock: FakeClock) -> None:
        """One that was re-run in spite of its expiry has none any more."""
        kept, lifted = job("kept", expires_at=clock.now), job("lifted", expires_at=clock.now)
        rows = [
            Row(job=kept, state="ready", priority=0, expires_at=clock.now),
            Row(job=lifted, state="ready", priority=0),
        ]
        store.load([Record(row) for row in rows])
        assert names(claim(store)) == ["lifted"]
        assert look(store, "kept").state == "expired"

    def test_all_states_survive_the_way_through_another_store(self, store: Store, clock: FakeClock) -> None:
        for state in ("scheduled", "succeeded", "failed", "cancelled", "expired", "ready"):
            bring_to(store, state, state)
        records = [
            replace(one, row=replace(one.row, job=replace(one.row.job, id=f"{one.row.job.id}-2")))
            for one in taken(store)
        ]
        records = [
            replace(one, attempts=tuple(replace(each, job_id=one.row.job.id) for each in one.attempts))
            for one in records
        ]
        assert all(store.load(records))
        assert taken(store)[len(records) :] == records

    def test_loaded_jobs_live_on(self, store: Store, clock: FakeClock) -> None:
        store.load([failed("a", clock.now)])
        store.change(["a"], Ask(kind="rerun"))
        row = claim_one(store)
        assert (row.token, row.attempt, row.checkpoint) == (8, 4, '{"at":3}')
        assert store.note([Note("a", 8, 4, "progress", "[2,2]"), Note("a", 7, 2, "log", "moved")]) == [True, True]
        assert finish(store, row)
        assert [one.log for one in store.attempts(["a"])] == ["log-1", "moved", "log-3", None]
        store.change(["a"], Ask(kind="forget"))
        assert store.attempts(["a"]) == []

    def test_keys_come_along_unless_they_are_held_here(self, store: Store) -> None:
        store.post([job("here", unique=Unique("k1"))])
        rows = [
            Row(job=job(f"r{n}", unique=Unique(f"k{n}")), state="failed" if n == 3 else "ready", priority=0)
            for n in (1, 2, 3)
        ]
        store.load([Record(row) for row in rows])
        answers = store.post([job(f"p{n}", unique=Unique(f"k{n}")) for n in (1, 2, 3)])
        assert answers == [Posted("here", False), Posted("r2", False), Posted("p3", True)]
