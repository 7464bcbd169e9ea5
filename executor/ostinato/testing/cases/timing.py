"""Timing: what the store's clock brings before each claim."""

from __future__ import annotations

from ostinato.model import HIGH, LOW, SECOND
from ostinato.storage import Ask, Store
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import claim, claim_one, finish, job, look, names, want
from ostinato.testing.setting import OpenStore, Setting


class TimingCases(Setting):
    def test_scheduled_job_waits_for_its_time(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a", run_at=clock.now + 10 * SECOND)])
        clock.advance(9.999_999)
        assert claim(store) == []
        clock.advance(0.000_001)
        assert names(claim(store)) == ["a"]

    def test_next_at_is_the_earliest_scheduled(self, store: Store, clock: FakeClock) -> None:
        first, second = clock.now + SECOND, clock.now + 2 * SECOND
        store.post([job("b", run_at=second), job("a", run_at=first)])
        assert store.claim("e1", want()).next_at == first
        clock.advance(1)
        claimed = store.claim("e1", want())
        assert (names(claimed.rows), claimed.next_at) == (["a"], second)

    def test_next_at_forgets_cancelled_jobs(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a", run_at=clock.now + SECOND)])
        store.change(["a"], Ask(kind="cancel"))
        assert store.claim("e1", want()).next_at is None

    def test_next_at_counts_retries(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a")])
        finish(store, claim_one(store), "scheduled", run_at=clock.now + 5 * SECOND)
        assert store.claim("e1", want()).next_at == clock.now + 5 * SECOND

    def test_next_at_forgets_a_former_time(self, store: Store, clock: FakeClock) -> None:
        store.post([job("b", run_at=clock.now + SECOND), job("a", run_at=clock.now + 2 * SECOND)])
        store.change(["a"], Ask(kind="cancel"))
        store.change(["a"], Ask(kind="rerun"))
        finish(store, claim_one(store), "scheduled", run_at=clock.now + 5 * SECOND)
        store.change(["b"], Ask(kind="cancel"))
        assert store.claim("e1", want()).next_at == clock.now + 5 * SECOND

    def test_due_jobs_keep_the_order_of_posting(self, store: Store, clock: FakeClock) -> None:
        """Among equals it counts when a job was posted, not when it came due."""
        store.post([job("b", run_at=clock.now + 2 * SECOND), job("a", run_at=clock.now + SECOND), job("c")])
        clock.advance(3)
        assert names(claim(store)) == ["b", "a", "c"]

    def test_due_job_keeps_its_priority(self, store: Store, clock: FakeClock) -> None:
        store.post([job("later", run_at=clock.now + SECOND, priority=HIGH), job("normal")])
        clock.advance(1)
        assert names(claim(store)) == ["later", "normal"]

    # expiry

    def test_job_not_started_in_time_expires(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a", expires_at=clock.now + SECOND), job("b")])
        clock.advance(1)
        claimed = store.claim("e1", want())
        assert (names(claimed.rows), names(claimed.expired)) == (["b"], ["a"])
        (expired,) = claimed.expired
        assert (expired.state, expired.ended_at, expired.attempt) == ("expired", clock.now, 0)
        assert expired == look(store, "a")

    def test_expired_job_is_told_once(self, store: Store, open_store: OpenStore, clock: FakeClock) -> None:
        store.post([job("a", expires_at=clock.now)])
        assert names(store.claim("e1", want()).expired) == ["a"]
        assert open_store().claim("e2", want()).expired == []

    def test_job_of_an_unknown_task_expires_too(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a", task="unknown", expires_at=clock.now)])
        assert names(store.claim("e1", want()).expired) == ["a"]

    def test_scheduled_job_expires_too(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a", run_at=clock.now + 9 * SECOND, expires_at=clock.now + SECOND)])
        clock.advance(1)
        claimed = store.claim("e1", want())
        assert (names(claimed.expired), claimed.next_at) == (["a"], None)

    def test_job_just_in_time_does_not_expire(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a", expires_at=clock.now + 1)])
        assert names(claim(store)) == ["a"]

    def test_started_job_no_longer_expires(self, store: Store, clock: FakeClock) -> None:
        store.post([job("running", expires_at=clock.now + SECOND), job("retried", expires_at=clock.now + SECOND)])
        _, retried = claim(store)
        finish(store, retried, "ready")
        clock.advance(60)
        claimed = store.claim("e1", want())
        assert (names(claimed.rows), claimed.expired) == (["retried"], [])
        assert look(store, "running").state == "running"

    def test_job_cancelled_before_does_not_expire(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a", expires_at=clock.now + SECOND)])
        store.change(["a"], Ask(kind="cancel"))
        clock.advance(1)
        assert store.claim("e1", want()).expired == []
        assert look(store, "a").state == "cancelled"

    # promotion

    def test_job_near_its_deadline_is_promoted(self, store: Store, clock: FakeClock) -> None:
        store.post([job("normal"), job("urgent", priority=LOW, promote_at=clock.now + SECOND)])
        clock.advance(1)
        rows = claim(store)
        assert names(rows) == ["urgent", "normal"]
        assert [row.priority for row in rows] == [HIGH, 0]

    def test_job_is_not_promoted_before(self, store: Store, clock: FakeClock) -> None:
        store.post([job("normal"), job("low", priority=LOW, promote_at=clock.now + 1)])
        assert names(claim(store)) == ["normal", "low"]

    def test_promoted_job_is_high_not_higher(self, store: Store, clock: FakeClock) -> None:
        store.post([job("high", priority=HIGH), job("promoted", promote_at=clock.now)])
        assert names(claim(store)) == ["high", "promoted"]

    def test_promotion_lowers_nobody(self, store: Store, clock: FakeClock) -> None:
        store.post([job("high", priority=HIGH), job("above", priority=HIGH + 1, promote_at=clock.now)])
        assert names(claim(store)) == ["above", "high"]

    def test_retried_job_past_its_promotion_is_promoted_again(self, store: Store, clock: FakeClock) -> None:
        store.post([job("normal"), job("urgent", priority=LOW, promote_at=clock.now + SECOND)])
        _, urgent = claim(store)
        store.post([job("later")])
        clock.advance(1)
        finish(store, urgent, "ready")
        assert names(claim(store)) == ["urgent", "later"]
