"""Finding: jobs by any filter in pages, attempts, counts."""

from __future__ import annotations

from typing import Any

import pytest

from ostinato.model import SECOND, State
from ostinato.storage import Ask, Count, JobQuery, Store
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import attempt, bring_to, claim, claim_one, end, finish, job, jobs, names
from ostinato.testing.setting import Setting


class FindingCases(Setting):
    def test_newest_first(self, store: Store) -> None:
        store.post(jobs(3))
        store.post([job("last", front=True)])
        assert found(store) == ["last", "j0002", "j0001", "j0000"]

    def test_oldest_first(self, store: Store) -> None:
        store.post(jobs(3))
        assert found(store, oldest_first=True) == ["j0000", "j0001", "j0002"]

    def test_by_ids(self, store: Store) -> None:
        store.post(jobs(4))
        assert found(store, ids=("j0001", "j0003", "nobody", "j0001")) == ["j0003", "j0001"]

    def test_by_no_ids_finds_nothing(self, store: Store) -> None:
        store.post(jobs(2))
        assert found(store, ids=()) == []

    @pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled", "expired", "running", "scheduled", "ready"])
    def test_by_state(self, store: Store, state: State) -> None:
        states: list[State] = ["succeeded", "failed", "cancelled", "expired", "running", "scheduled", "ready"]
        for each in states:
            bring_to(store, each, each)
        assert found(store, states=(state,)) == [state]

    def test_by_several_states(self, store: Store) -> None:
        store.post(jobs(3))
        claim_one(store)
        store.change(["j0001"], Ask(kind="cancel"))
        assert found(store, states=("running", "cancelled")) == ["j0001", "j0000"]

    def test_by_task(self, store: Store) -> None:
        store.post([job("a", task="t"), job("b", task="u"), job("c", task="v")])
        assert found(store, tasks=("t", "v")) == ["c", "a"]

    def test_by_queue(self, store: Store) -> None:
        store.post([job("a", queue="p"), job("b", queue="q"), job("c", queue="r")])
        assert found(store, queues=("p", "r")) == ["c", "a"]

    def test_by_tag(self, store: Store) -> None:
        store.post([job("a", tags=("red", "blue")), job("b", tags=("redder",)), job("c", tags=("red",)), job("d")])
        assert found(store, tag="red") == ["c", "a"]

    @pytest.mark.parametrize("tag", ["%", "_", "r%", '"', "'", "red,blue", "RED"])
    def test_tags_are_no_patterns(self, store: Store, tag: str) -> None:
        store.post([job("a", tags=("red", "blue")), job("b", tags=(tag,))])
        assert found(store, tag=tag) == ["b"]

    def test_by_executor(self, store: Store) -> None:
        store.post(jobs(3))
        claim(store, "e1", count=2)
        claim(store, "e2", count=1)
        assert found(store, executor_id="e1") == ["j0001", "j0000"]
        assert found(store, executor_id="nobody") == []

    def test_by_time_of_the_end(self, store: Store, clock: FakeClock) -> None:
        store.post(jobs(3))
        first, second, _ = claim(store)
        finish(store, first)
        clock.advance(1)
        finish(store, second)
        assert found(store, ended_before=clock.now) == ["j0000"]
        assert found(store, ended_before=clock.now + 1) == ["j0001", "j0000"]

    def test_all_given_filters_together(self, store: Store) -> None:
        store.post([job("a", tags=("x",)), job("b", tags=("x",), queue="q"), job("c", queue="q")])
        assert found(store, tag="x", queues=("q",), states=("ready",), tasks={"work": 1}) == ["b"]
        assert found(store, tag="x", queues=("q",), states=("running",)) == []

    # pages

    @pytest.mark.parametrize("oldest_first", [False, True])
    def test_pages_show_each_job_once(self, store: Store, oldest_first: bool) -> None:
        store.post(jobs(4))
        store.post([*jobs(3, "k"), job("f", front=True)])
        whole = found(store, oldest_first=oldest_first)
        assert len(whole) == 8
        for limit in (1, 3, 4, 7, 8, 9):
            assert paged(store, limit, oldest_first=oldest_first) == whole

    def test_pages_with_filters(self, store: Store) -> None:
        store.post([job(f"{n}", queue="even" if n % 2 == 0 else "odd") for n in range(9)])
        assert paged(store, 2, queues=("even",)) == ["8", "6", "4", "2", "0"]
        assert paged(store, 2, ids=tuple("01234")) == ["4", "3", "2", "1", "0"]

    def test_last_page_has_no_next(self, store: Store) -> None:
        store.post(jobs(4))
        first = store.find(JobQuery(limit=2))
        last = store.find(JobQuery(limit=2, cursor=first.next))
        assert (len(first.rows), len(last.rows), last.next) == (2, 2, None)
        assert first.next is not None

    def test_paging_is_not_disturbed_by_changes(self, store: Store) -> None:
        """Jobs that come or go between two pages make no other be skipped or shown twice."""
        store.post(jobs(6))
        first = store.find(JobQuery(limit=3))
        store.change(["j0005", "j0004"], Ask(kind="cancel"))
        store.change(["j0005", "j0004"], Ask(kind="forget"))
        store.post([job("new")])
        assert names(store.find(JobQuery(limit=9, cursor=first.next)).rows) == ["j0002", "j0001", "j0000"]

    # attempts

    def test_attempts_by_job_and_number(self, store: Store) -> None:
        store.post(jobs(2))
        wanted = {"j0000": [], "j0001": []}  # type: dict[str, list[object]]
        for _ in range(3):
            for row in claim(store):
                wanted[row.job.id].append(attempt(row, "retry"))
                finish(store, row, "ready")
        recorded = store.attempts(["j0001", "j0000", "nobody"])
        assert len(recorded) == 6
        for job_id, attempts in wanted.items():
            assert [each for each in recorded if each.job_id == job_id] == attempts
        assert store.attempts(["j0001"]) == wanted["j0001"]

    def test_a_run_that_has_not_ended_is_no_attempt(self, store: Store) -> None:
        store.post([job("a")])
        claim_one(store)
        assert store.attempts(["a"]) == []

    # counts

    def test_count_of_nothing(self, store: Store) -> None:
        assert store.count() == []

    def test_count_by_queue_task_and_state(self, store: Store, clock: FakeClock) -> None:
        store.post([*jobs(3), *jobs(2, "q", queue="q", holds=(("gpu", 1),)), *jobs(1, "q1", queue="q")])
        store.post([job("u", task="u"), job("s", run_at=clock.now + SECOND)])
        rows = claim(store, count=2)
        store.finish([end(rows[0])])
        assert sorted(store.count(), key=repr) == sorted(
            [
                Count("default", "work", "ready", 1),
                Count("default", "work", "running", 1),
                Count("default", "work", "succeeded", 1),
                Count("default", "work", "scheduled", 1),
                Count("q", "work", "ready", 3),
                Count("default", "u", "ready", 1),
            ],
            key=repr,
        )


def found(store: Store, **fields: Any) -> list[str]:
    return names(store.find(JobQuery(**fields)).rows)


def paged(store: Store, limit: int, **fields: Any) -> list[str]:
    """All pages, one after the other."""
    page = store.find(JobQuery(limit=limit, **fields))
    seen = names(page.rows)
    while page.next is not None:
        page = store.find(JobQuery(limit=limit, cursor=page.next, **fields))
        assert 0 < len(page.rows) <= limit
        seen += names(page.rows)
    return seen
