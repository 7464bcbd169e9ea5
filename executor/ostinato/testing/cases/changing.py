"""Changing from outside: cancel, rerun and forget, by state."""

from __future__ import annotations

import pytest

from ostinato.model import FINAL, HIGH, SECOND, Error, State
from ostinato.storage import Ask, Changed, Note, Store
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import attempt, bring_to, claim, claim_one, exists, finish, job, look, names, want
from ostinato.testing.setting import OpenStore, Setting

CANCEL, RERUN, FORGET = Ask(kind="cancel"), Ask(kind="rerun"), Ask(kind="forget")
ENDED: list[State] = ["succeeded", "failed", "cancelled", "expired"]
UNENDED: list[State] = ["scheduled", "ready", "running"]


class ChangingCases(Setting):
    @pytest.mark.parametrize("ask", [CANCEL, RERUN, FORGET])
    def test_unknown_job(self, store: Store, ask: Ask) -> None:
        assert store.change(["nobody"], ask) == [Changed("nobody", None, None)]

    def test_each_job_by_itself(self, store: Store) -> None:
        bring_to(store, "ended", "succeeded")
        store.post([job("ready")])
        assert store.change(["ended", "nobody", "ready"], CANCEL) == [
            Changed("ended", "succeeded", "succeeded"),
            Changed("nobody", None, None),
            Changed("ready", "ready", "cancelled"),
        ]

    # cancel

    @pytest.mark.parametrize("state", ["scheduled", "ready"])
    def test_cancel_of_a_job_not_yet_running(self, store: Store, clock: FakeClock, state: State) -> None:
        bring_to(store, "a", state)
        assert store.change(["a"], Ask(kind="cancel", reason="not needed")) == [Changed("a", state, "cancelled")]
        seen = look(store, "a")
        assert (seen.state, seen.reason, seen.ended_at) == ("cancelled", "not needed", clock.now)
        clock.advance(60)
        assert claim(store) == []

    def test_cancel_of_a_running_job_flags_it(self, store: Store) -> None:
        bring_to(store, "a", "running")
        assert store.change(["a"], CANCEL) == [Changed("a", "running", "running")]
        assert look(store, "a").cancelling
        assert store.change(["a"], CANCEL) == [Changed("a", "running", "running")]

    def test_flag_does_not_outlive_the_run(self, store: Store) -> None:
        bring_to(store, "a", "running")
        store.change(["a"], CANCEL)
        finish(store, look(store, "a"), "cancelled")
        store.change(["a"], RERUN)
        assert not claim_one(store).cancelling

    @pytest.mark.parametrize("state", ENDED)
    def test_cancel_of_an_ended_job_does_nothing(self, store: Store, state: State) -> None:
        bring_to(store, "a", state)
        before = look(store, "a")
        assert store.change(["a"], CANCEL) == [Changed("a", state, state)]
        assert look(store, "a") == before

    # rerun

    @pytest.mark.parametrize("state", ENDED)
    def test_rerun_of_an_ended_job(self, store: Store, state: State) -> None:
        """Also of an expired one: who asks for it now wants it in spite of its expiry."""
        bring_to(store, "a", state)
        assert store.change(["a"], RERUN) == [Changed("a", state, "ready")]
        claimed = store.claim("e1", want())
        assert (names(claimed.rows), claimed.expired) == (["a"], [])

    def test_rerun_lifts_the_expiry(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a", expires_at=clock.now + SECOND)])
        store.change(["a"], CANCEL)
        store.change(["a"], RERUN)
        clock.advance(2)
        claimed = store.claim("e1", want())
        assert (names(claimed.rows), claimed.expired) == (["a"], [])

    @pytest.mark.parametrize("state", UNENDED)
    def test_rerun_of_an_unended_job_does_nothing(self, store: Store, state: State) -> None:
        bring_to(store, "a", state)
        before = look(store, "a")
        assert store.change(["a"], RERUN) == [Changed("a", state, state)]
        assert look(store, "a") == before

    def test_rerun_has_a_fresh_budget(self, store: Store) -> None:
        store.post([job("a", priority=HIGH)])
        error = Error("ValueError", "no")
        finish(store, claim_one(store), "failed", charged=3, deaths=2, error=error, reason="gave up", priority=-9)
        store.change(["a"], RERUN)
        row = look(store, "a")
        assert (row.charged, row.deaths, row.priority) == (0, 0, HIGH)
        assert (row.result, row.error, row.reason, row.ended_at) == (None, None, "", None)

    def test_rerun_keeps_checkpoint_and_place(self, store: Store) -> None:
        store.post([job("a"), job("b")])
        row = claim_one(store)
        store.note([Note("a", row.token, 1, "checkpoint", "[7]")])
        finish(store, row, "failed")
        store.change(["a"], RERUN)
        assert [(row.job.id, row.checkpoint) for row in claim(store)] == [("a", "[7]"), ("b", None)]

    def test_rerun_keeps_the_history(self, store: Store) -> None:
        store.post([job("a")])
        first = claim_one(store)
        finish(store, first, "failed")
        store.change(["a"], RERUN)
        second = claim_one(store)
        assert second.attempt == 2
        assert second.token > first.token
        finish(store, second)
        assert store.attempts(["a"]) == [attempt(first, "failure"), attempt(second)]

    # forget

    @pytest.mark.parametrize("state", ENDED)
    def test_forget_of_an_ended_job(self, store: Store, state: State) -> None:
        bring_to(store, "a", state)
        assert store.change(["a"], FORGET) == [Changed("a", state, None)]
        assert not exists(store, "a")
        assert store.attempts(["a"]) == []
        assert store.count() == []

    @pytest.mark.parametrize("state", UNENDED)
    def test_forget_of_an_unended_job_does_nothing(self, store: Store, state: State) -> None:
        bring_to(store, "a", state)
        assert store.change(["a"], FORGET) == [Changed("a", state, state)]
        assert look(store, "a").state == state

    def test_forgotten_id_may_be_posted_again(self, store: Store) -> None:
        bring_to(store, "a", "succeeded")
        store.change(["a"], FORGET)
        assert [posted.created for posted in store.post([job("a"), job("b")])] == [True, True]
        assert [(row.job.id, row.attempt) for row in claim(store)] == [("a", 1), ("b", 1)]

    def test_late_finish_of_a_forgotten_job_is_refused(self, store: Store) -> None:
        store.post([job("a")])
        row = claim_one(store)
        finish(store, row)
        store.change(["a"], FORGET)
        assert not finish(store, row)
        assert not exists(store, "a")

    def test_change_is_seen_by_other_stores(self, store: Store, open_store: OpenStore, clock: FakeClock) -> None:
        store.post([job("a", run_at=clock.now + SECOND)])
        open_store().change(["a"], CANCEL)
        assert look(store, "a").state in FINAL
