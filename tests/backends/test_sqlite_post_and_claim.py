"""Posting and claiming in one write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ostinato.errors import StoreError
from ostinato.model import HIGH
from ostinato.storage import JobQuery, PostsAndClaims
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import claim, finish, job, jobs, want
from ostinato_sql.sqlite import SqliteDialect
from ostinato_sql.store import SqlStore


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[SqlStore]:
    one = SqlStore(SqliteDialect(str(tmp_path / "jobs.db"), clock=clock))
    one.open()
    yield one
    one.close()


def test_what_is_posted_is_claimed(store: SqlStore) -> None:
    assert isinstance(store, PostsAndClaims)
    posted, claimed = store.post_and_claim([job("a")], "e1", want())
    (row,) = claimed.rows
    assert [one.id for one in posted] == ["a"]
    assert (row.job.id, row.state, row.attempt, row.token, row.executor_id) == ("a", "running", 1, 1, "e1")
    assert claim(store) == []
    assert finish(store, row)


def test_a_better_job_that_waits_goes_first(store: SqlStore) -> None:
    store.post([job("better", priority=HIGH)])
    _, claimed = store.post_and_claim([job("a")], "e1", want(count=1))
    assert [row.job.id for row in claimed.rows] == ["better"]
    assert [row.job.id for row in claim(store)] == ["a"]


def test_what_does_not_fit_waits(store: SqlStore) -> None:
    _, claimed = store.post_and_claim(jobs(3), "e1", want(slots=2))
    assert [row.job.id for row in claimed.rows] == ["j0000", "j0001"]
    assert [row.job.id for row in claim(store)] == ["j0002"]


def test_what_time_brings_is_left_to_the_next_claim(store: SqlStore, clock: FakeClock) -> None:
    store.post([job("later", run_at=clock.now + 1_000_000, priority=HIGH)])
    clock.advance(2)
    _, claimed = store.post_and_claim([job("a")], "e1", want())
    assert claimed.rows == []
    assert [row.job.id for row in claim(store)] == ["later", "a"]


def test_a_job_that_is_posted_again_is_not_claimed_twice(store: SqlStore) -> None:
    store.post_and_claim([job("a")], "e1", want())
    posted, claimed = store.post_and_claim([job("a")], "e2", want())
    assert (posted[0].created, claimed.rows) == (False, [])


def test_others_are_woken_only_for_what_is_left(store: SqlStore) -> None:
    ear = store.listen(frozenset({"ready"}))
    store.post_and_claim([job("a")], "e1", want())
    assert ear.wait(0) == frozenset()
    store.post_and_claim(jobs(2), "e1", want(slots=1))
    assert ear.wait(5) == {"ready"}
    ear.close()


def test_all_or_nothing(store: SqlStore) -> None:
    with pytest.raises((StoreError, UnicodeError)):
        store.post_and_claim([job("a"), job("b", args="\ud800")], "e1", want())
    assert store.find(JobQuery()).rows == []
