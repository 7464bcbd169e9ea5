"""A state machine that drives a store at random and compares it with a plain model.

A backend is tested by a subclass that makes an empty store each time it is asked::

    class MyMachine(StoreMachine):
        def make_store(self, clock):
            return MyStore(new_folder(), clock=clock)

    TestMyMachine = MyMachine.TestCase
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from ostinato.model import FINAL, HIGH, LOW, NORMAL, SECOND, Fence, Job, Row, State
from ostinato.storage import Ask, JobQuery, Rescue, Store
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import LEASE, end, info, want

GPUS = 2
TASKS = ("work", "unknown")
EXECUTORS = st.sampled_from(["e1", "e2", "e3"])


@dataclass
class Model:
    """What is known of one job: no index, no heap, nothing clever."""

    job: Job
    order: int
    state: State
    priority: int
    run_at: int
    attempt: int = 0
    token: int = 0
    owner: str | None = None
    lease_until: int = 0
    cancelling: bool = False

    @property
    def gpus(self) -> int:
        return dict(self.job.holds).get("gpu", 0)

    def holds(self, fence: Fence) -> bool:
        return self.state == "running" and self.token == fence.token


class StoreMachine(RuleBasedStateMachine):
    """Random histories of two tasks, two resources and three executors."""

    runs: ClassVar[Bundle[Row]] = Bundle("runs")
    """All rows ever claimed or rescued: most of them are zombies after a while."""

    def make_store(self, clock: Callable[[], int]) -> Store:
        """A new empty store, not yet opened."""
        raise NotImplementedError("a subclass of StoreMachine says how to make its store")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.jobs: dict[str, Model] = {}
        self.applied: set[Fence] = set()
        self.store = self.make_store(self.clock)
        self.store.open()

    def teardown(self) -> None:
        self.store.close()

    @initialize()
    def declare_gpus(self) -> None:
        self.store.limit({"gpu": GPUS})

    # from outside

    @rule(
        task=st.sampled_from([*TASKS, "work"]),
        priority=st.sampled_from([LOW, NORMAL, HIGH]),
        front=st.booleans(),
        gpus=st.sampled_from([0, 0, 1, 2]),
        delay=st.sampled_from([0, 0, 5]),
    )
    def post(self, task: str, priority: int, front: bool, gpus: int, delay: int) -> None:
        number = len(self.jobs) + 1
        run_at = self.clock.now + delay * SECOND if delay else 0
        holds = (("gpu", gpus),) if gpus else ()
        job = Job(task=task, id=f"j{number}", priority=priority, front=front, holds=holds, run_at=run_at)
        state: State = "scheduled" if delay else "ready"
        assert self.store.post([job])[0].created
        self.jobs[job.id] = Model(job, -number if front else number, state, priority, run_at)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), kind=st.sampled_from(["cancel", "rerun"]))
    def change(self, data: st.DataObject, kind: Literal["cancel", "rerun"]) -> None:
        model = self.jobs[data.draw(st.sampled_from(sorted(self.jobs)), label="job")]
        before = model.state
        if kind == "rerun" and before in FINAL:
            model.state, model.priority = "ready", model.job.priority
        elif kind == "cancel" and before == "running":
            model.cancelling = True
        elif kind == "cancel" and before not in FINAL:
            model.state = "cancelled"
        (changed,) = self.store.change([model.job.id], Ask(kind=kind))
        assert (changed.before, changed.after) == (before, model.state)

    @rule(seconds=st.sampled_from([1, 5, 31]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    # the loop

    @rule(target=runs, executor_id=EXECUTORS, count=st.integers(1, 4))
    def claim(self, executor_id: str, count: int):  # type: ignore[no-untyped-def]  # `multiple` has no public type
        expected = self._claimable(count)
        claimed = self.store.claim(executor_id, want(count=count))
        assert [row.job.id for row in claimed.rows] == [model.job.id for model in expected]
        waiting = [model.run_at for model in self.jobs.values() if model.state == "scheduled"]
        assert claimed.next_at == min(waiting, default=None)
        for model, row in zip(expected, claimed.rows, strict=True):
            assert row.token > model.token
            model.state, model.owner, model.lease_until = "running", executor_id, self.clock.now + LEASE
            model.attempt, model.token = model.attempt + 1, row.token
        return multiple(*claimed.rows)

    @rule(run=runs, state=st.sampled_from(["succeeded", "failed", "scheduled", "ready"]), sunk=st.booleans())
    def finish(self, run: Row, state: State, sunk: bool) -> None:
        model, fence = self.jobs[run.job.id], run.fence
        run_at = self.clock.now + 5 * SECOND
        holds = model.holds(fence)
        (applied,) = self.store.finish([end(run, state, run_at=run_at, priority=run.priority - sunk)])
        assert applied == (holds or fence in self.applied)
        if holds:
            self.applied.add(fence)
            given_up = model.cancelling and state not in FINAL
            model.state = "cancelled" if given_up else state
            model.priority, model.run_at, model.cancelling = run.priority - sunk, run_at, False

    @rule(run=runs)
    def renew(self, run: Row) -> None:
        model, fence = self.jobs[run.job.id], run.fence
        renewal = self.store.renew(info("e1"), [fence], LEASE)
        assert renewal.lost == ([] if model.holds(fence) else [fence])
        assert renewal.cancelling == ([fence] if model.holds(fence) and model.cancelling else [])
        if model.holds(fence):
            model.lease_until = self.clock.now + LEASE

    @rule(target=runs, executor_id=EXECUTORS, dead=st.sampled_from([(), ("e1",), ("e2", "e3")]))
    def rescue(self, executor_id: str, dead: tuple[str, ...]):  # type: ignore[no-untyped-def]
        orphans = {
            model.job.id: model.owner
            for model in self.jobs.values()
            if model.state == "running" and (model.owner in dead or model.lease_until <= self.clock.now)
        }
        rows = self.store.rescue(executor_id, Rescue(dead=dead, lease=LEASE))
        assert {row.job.id: row.executor_id for row in rows} == orphans
        for row in rows:
            model = self.jobs[row.job.id]
            assert row.token > model.token
            model.token, model.owner, model.lease_until = row.token, executor_id, self.clock.now + LEASE
        return multiple(*rows)

    def _claimable(self, count: int) -> list[Model]:
        """What a claim must give: the best of those that fit, none passed over."""
        for model in self.jobs.values():
            if model.state == "scheduled" and model.run_at <= self.clock.now:
                model.state = "ready"
        free = GPUS - sum(model.gpus for model in self.jobs.values() if model.state == "running")
        chosen: list[Model] = []
        for model in sorted(self.jobs.values(), key=lambda model: (-model.priority, model.order)):
            fits = model.gpus == 0 or model.gpus <= free
            if model.state == "ready" and model.job.task == "work" and fits and len(chosen) < count:
                chosen.append(model)
                free -= model.gpus
        return chosen

    # what always holds

    @invariant()
    def store_is_as_the_model(self) -> None:
        rows = self.store.find(JobQuery(limit=1000)).rows
        seen = {row.job.id: (row.job, row.state, row.priority, row.attempt, row.token, row.cancelling) for row in rows}
        assert seen == {
            name: (model.job, model.state, model.priority, model.attempt, model.token, model.cancelling)
            for name, model in self.jobs.items()
        }

    @invariant()
    def capacity_is_never_exceeded(self) -> None:
        rows = self.store.find(JobQuery(states=("running",), limit=1000)).rows
        assert sum(dict(row.job.holds).get("gpu", 0) for row in rows) <= GPUS

    @invariant()
    def each_applied_end_is_one_attempt(self) -> None:
        assert len(self.store.attempts(list(self.jobs))) == len(self.applied)
