"""Renewing and noting: signs of life, orders, and fenced records of a run."""

from __future__ import annotations

from typing import Literal

from ostinato.model import SECOND, Fence
from ostinato.storage import Ask, Note, Rescue, Store
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import LEASE, claim, claim_one, finish, info, job, jobs, look, names
from ostinato.testing.setting import OpenStore, Setting
from ostinato.testing.threads import together


class RenewingCases(Setting):
    def test_renew_extends_the_lease(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a")])
        row = claim_one(store)
        clock.advance(20)
        renewal = store.renew(info("e1"), [row.fence], LEASE)
        assert (renewal.now, renewal.lost, renewal.cancelling) == (clock.now, [], [])
        assert look(store, "a").lease_until == clock.now + LEASE
        clock.advance(20)
        assert store.rescue("e2", Rescue()) == []

    def test_renew_extends_only_what_is_named(self, store: Store, clock: FakeClock) -> None:
        store.post(jobs(2))
        first, _ = claim(store)
        clock.advance(20)
        store.renew(info("e1"), [first.fence], LEASE)
        clock.advance(20)
        assert [row.job.id for row in store.rescue("e2", Rescue())] == ["j0001"]

    def test_overdue_run_that_nobody_rescued_is_still_held(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a")])
        row = claim_one(store)
        clock.advance(3600)
        assert store.renew(info("e1"), [row.fence], LEASE).lost == []
        assert store.rescue("e2", Rescue()) == []

    def test_rescued_run_is_lost(self, store: Store, clock: FakeClock) -> None:
        store.post(jobs(2))
        lost, kept = claim(store)
        clock.advance(20)
        store.renew(info("e1"), [kept.fence], LEASE)
        clock.advance(20)
        (rescued,) = store.rescue("e2", Rescue())
        assert store.renew(info("e1"), [lost.fence, kept.fence], LEASE).lost == [lost.fence]
        assert store.renew(info("e2"), [rescued.fence], LEASE).lost == []

    def test_renewing_a_lost_run_does_not_extend_it(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a")])
        zombie = claim_one(store)
        store.rescue("e2", Rescue(dead=("e1",), lease=SECOND))
        store.renew(info("e1"), [zombie.fence], LEASE)
        assert look(store, "a").lease_until == clock.now + SECOND

    def test_ended_and_unknown_runs_are_lost(self, store: Store) -> None:
        store.post([job("a")])
        row = claim_one(store)
        finish(store, row)
        unknown = Fence("nobody", 1)
        assert store.renew(info("e1"), [row.fence, unknown], LEASE).lost == [row.fence, unknown]

    def test_renew_tells_whom_to_cancel(self, store: Store) -> None:
        store.post(jobs(2))
        first, second = claim(store)
        store.change([first.job.id], Ask(kind="cancel"))
        assert store.renew(info("e1"), [first.fence, second.fence], LEASE).cancelling == [first.fence]

    def test_renew_tells_again_until_the_run_ends(self, store: Store) -> None:
        store.post([job("a")])
        row = claim_one(store)
        store.change(["a"], Ask(kind="cancel"))
        for _ in range(2):
            assert store.renew(info("e1"), [row.fence], LEASE).cancelling == [row.fence]
        finish(store, row, "cancelled")
        assert store.renew(info("e1"), [row.fence], LEASE).cancelling == []

    # executors

    def test_executor_is_recorded_with_its_sign_of_life(self, store: Store, clock: FakeClock) -> None:
        told = info("e1", busy=2, queues=("a", "b*"), tasks={"t": 2}, spool="/spool", log_store="s3://x", draining=True)
        store.renew(told, [], LEASE)
        (known,) = store.executors()
        assert known == info(
            "e1",
            busy=2,
            queues=("a", "b*"),
            tasks={"t": 2},
            spool="/spool",
            log_store="s3://x",
            draining=True,
            seen_at=clock.now,
            lease_until=clock.now + LEASE,
        )

    def test_newer_sign_of_life_replaces_the_older(self, store: Store, clock: FakeClock) -> None:
        store.renew(info("e1", busy=1), [], LEASE)
        clock.advance(5)
        store.renew(info("e1", busy=3), [], LEASE)
        (known,) = store.executors()
        assert (known.busy, known.seen_at) == (3, clock.now)

    def test_peers_are_the_others_alive(self, store: Store, open_store: OpenStore, clock: FakeClock) -> None:
        open_store().renew(info("quiet"), [], SECOND)
        open_store().renew(info("alive"), [], LEASE)
        assert {peer.id for peer in store.renew(info("e1"), [], LEASE).peers} == {"quiet", "alive"}
        clock.advance(2)
        assert [peer.id for peer in store.renew(info("e1"), [], LEASE).peers] == ["alive"]

    def test_silent_executor_is_listed_for_a_day(self, store: Store, clock: FakeClock) -> None:
        store.renew(info("e1"), [], LEASE)
        clock.advance(3600)
        assert [executor.id for executor in store.executors()] == ["e1"]
        clock.advance(86_400)
        assert store.executors() == []

    def test_silent_executor_is_listed_while_a_run_of_it_is_left(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a")])
        row = claim_one(store)
        store.renew(info("e1"), [row.fence], LEASE)
        clock.advance(3 * 86_400)
        assert [executor.id for executor in store.executors()] == ["e1"]

    def test_goodbye_with_a_lease_of_0(self, store: Store) -> None:
        store.post([job("a")])
        row = claim_one(store)
        store.renew(info("e1"), [row.fence], LEASE)
        store.renew(info("e2"), [], LEASE)
        store.renew(info("e1"), [], 0)
        assert [executor.id for executor in store.executors()] == ["e2"]
        assert store.renew(info("e2"), [], LEASE).peers == []
        assert [rescued.job.id for rescued in store.rescue("e2", Rescue(dead=("e1",)))] == ["a"]

    # notes

    def test_progress_and_checkpoint_are_noted(self, store: Store) -> None:
        store.post([job("a")])
        row = claim_one(store)
        assert store.note([_note(row.fence, "progress", "[1,2]"), _note(row.fence, "checkpoint", '{"at":1}')]) == [
            True,
            True,
        ]
        assert store.note([_note(row.fence, "progress", "[2,2]")]) == [True]
        seen = look(store, "a")
        assert (seen.progress, seen.checkpoint) == ("[2,2]", '{"at":1}')

    def test_checkpoint_is_there_at_the_next_attempt(self, store: Store) -> None:
        store.post([job("a")])
        row = claim_one(store)
        store.note([_note(row.fence, "checkpoint", '{"at":1}')])
        finish(store, row, "ready")
        assert claim_one(store).checkpoint == '{"at":1}'

    def test_checkpoint_is_there_for_the_rescuer(self, store: Store) -> None:
        store.post([job("a")])
        row = claim_one(store)
        store.note([_note(row.fence, "checkpoint", '{"at":1}')])
        (rescued,) = store.rescue("e2", Rescue(dead=("e1",)))
        assert rescued.checkpoint == '{"at":1}'

    def test_stale_notes_are_refused_one_by_one(self, store: Store) -> None:
        store.post(jobs(2))
        zombie, held = claim(store)
        store.rescue("e2", Rescue(dead=("e1",), count=1))
        notes = [_note(zombie.fence, "progress", "[1]"), _note(held.fence, "progress", "[2]")]
        notes += [_note(zombie.fence, "checkpoint", "{}"), _note(Fence("nobody", 1), "progress", "[3]")]
        assert store.note(notes) == [False, True, False, False]
        assert (look(store, "j0000").progress, look(store, "j0000").checkpoint) == (None, None)
        assert look(store, "j0001").progress == "[2]"

    def test_notes_after_the_end_are_refused(self, store: Store) -> None:
        store.post([job("a")])
        row = claim_one(store)
        finish(store, row)
        assert store.note([_note(row.fence, "progress", "[1]")]) == [False]
        assert look(store, "a").progress is None

    def test_log_is_noted_by_the_number_of_the_ended_attempt(self, store: Store) -> None:
        """The upload may come long after: when the job runs again, or was rescued and ended."""
        store.post([job("a")])
        first = claim_one(store)
        finish(store, first, "ready")
        second = claim_one(store)
        url = "s3://bucket/a/1"
        assert store.note([_note(first.fence, "log", url, attempt=1)]) == [True]
        finish(store, second)
        assert [(one.number, one.log) for one in store.attempts(["a"])] == [(1, url), (2, None)]

    def test_log_of_no_ended_attempt_is_refused(self, store: Store) -> None:
        store.post([job("a")])
        row = claim_one(store)
        assert store.note([_note(row.fence, "log", "s3://x", attempt=1), _note(Fence("b", 1), "log", "s3://x")]) == [
            False,
            False,
        ]

    def test_log_that_is_noted_while_its_attempt_ends_is_recorded_or_refused(self, store: Store) -> None:
        """The uploader of one executor and the settler of another meet here."""
        store.post(jobs(150))
        rows = claim(store)

        def upload() -> None:
            for row in rows:
                while store.note([_note(row.fence, "log", "s3://x")]) != [True]:
                    pass

        def settle() -> None:
            for row in rows:
                finish(store, row)

        together(lambda work: work(), [upload, settle])
        assert {one.log for one in store.attempts(names(rows))} == {"s3://x"}


def _note(fence: Fence, key: Literal["progress", "checkpoint", "log"], value: str, attempt: int = 1) -> Note:
    return Note(fence.job_id, fence.token, attempt, key, value)
