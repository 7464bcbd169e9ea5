"""A state machine that drives a store at random and compares it with a plain model.

A backend is tested by a subclass that makes an empty store each time it is asked::

    class MyMachine(StoreMachine):
        def make_store(self, clock):
            return MyStore(new_folder(), clock=clock)

    TestMyMachine = MyMachine.TestCase
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import ClassVar, Literal

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule
from msgspec.structs import replace

from ostinato.errors import AlreadyPosted
from ostinato.model import FINAL, HIGH, LOW, NORMAL, SECOND, After, Fence, Job, Row, State, Unique
from ostinato.rules import holds_key
from ostinato.storage import Ask, JobQuery, Posted, Record, Rescue, Store
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import LEASE, attempt, end, info, want

GPUS = 2
TASKS = ("work", "unknown")
WAITING = ("ready", "scheduled")
KEYS = (
    Unique("k"),
    Unique("k", on_conflict="replace"),
    Unique("k", until="started", on_conflict="raise"),
    Unique("other", on_conflict="replace"),
    Unique("other", until="started"),
)
RULES = (After(()), After((), "run", first=True), After((), "fail"), After((), first=True))
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
    posted_at: int = 0
    ended: int = 0
    owner: str | None = None
    lease_until: int = 0
    cancelling: bool = False
    waits: set[str] = field(default_factory=set)
    """The jobs that it still waits for."""

    @property
    def gpus(self) -> int:
        return dict(self.job.holds).get("gpu", 0)

    def holds(self, fence: Fence) -> bool:
        return self.state == "running" and self.token == fence.token


class StoreMachine(RuleBasedStateMachine):
    """Random histories of two tasks, a resource, a queue that is paused, two unique keys, jobs that come after
    others, and three executors."""

    runs: ClassVar[Bundle[Row]] = Bundle("runs")
    """All rows ever claimed or rescued: most of them are zombies after a while."""

    def make_store(self, clock: Callable[[], int]) -> Store:
        """A new empty store, not yet opened."""
        raise NotImplementedError("a subclass of StoreMachine says how to make its store")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.jobs: dict[str, Model] = {}
        self.holders: dict[str, str] = {}
        self.limits: dict[str, int] = {}
        self.numbers = count(1)
        self.applied: set[Fence] = set()
        self.store = self.make_store(self.clock)
        self.store.open()

    def teardown(self) -> None:
        self.store.close()

    @initialize()
    def declare_gpus(self) -> None:
        self.limit("gpu", GPUS)

    # from outside

    @rule(
        task=st.sampled_from([*TASKS, "work"]),
        priority=st.sampled_from([LOW, NORMAL, HIGH]),
        front=st.booleans(),
        gpus=st.sampled_from([0, 0, 1, 2]),
        delay=st.sampled_from([0, 0, 5]),
        unique=st.sampled_from([None, None, *KEYS]),
    )
    def post(self, task: str, priority: int, front: bool, gpus: int, delay: int, unique: Unique | None) -> None:
        number = next(self.numbers)
        run_at = self.clock.now + delay * SECOND if delay else 0
        holds = (("gpu", gpus),) if gpus else ()
        job = Job(task=task, id=f"j{number}", priority=priority, front=front, holds=holds, run_at=run_at, unique=unique)
        state: State = "scheduled" if delay else "ready"
        twin = None if unique is None else self._holder(unique.key)
        if twin is not None and unique is not None and unique.on_conflict == "raise":
            with pytest.raises(AlreadyPosted):
                self.store.post([job])
            return
        (posted,) = self.store.post([job])
        assert posted == Posted(twin.job.id if twin else job.id, created=twin is None)
        if twin is None:
            self.jobs[job.id] = Model(job, -number if front else number, state, priority, run_at, 0, 0, self.clock.now)
            if unique is not None:
                self.holders[unique.key] = job.id
        elif unique is not None and unique.on_conflict == "replace" and not twin.token and twin.state in WAITING:
            twin.job = replace(job, id=twin.job.id, front=twin.job.front)
            twin.state, twin.priority, twin.run_at = state, priority, run_at

    @rule(data=st.data(), delay=st.sampled_from([0, 0, 5]), how=st.sampled_from(RULES))
    def post_after(self, data: st.DataObject, delay: int, how: After) -> None:
        names = st.sampled_from(["gone", *sorted(self.jobs)])
        others = data.draw(st.lists(names, min_size=1, max_size=3, unique=True), label="after")
        number = next(self.numbers)
        run_at = self.clock.now + delay * SECOND if delay else 0
        job = Job(task="work", id=f"j{number}", run_at=run_at, after=replace(how, jobs=tuple(others)))
        self.store.post([job])
        states = {one: self.jobs[one].state if one in self.jobs else "succeeded" for one in others}
        model = Model(job, number, "blocked", NORMAL, run_at, posted_at=self.clock.now, waits=set(others))
        self.jobs[job.id] = model
        for one, state in sorted(states.items(), key=lambda known: known[1] == "succeeded"):  # a failure counts first
            if state in FINAL:
                self._hears(model, one, state)

    def _hears(self, model: Model, other: str, state: State) -> None:
        """One that it may wait for has ended."""
        after = model.job.after
        if model.state != "blocked" or after is None or other not in model.waits:
            return
        model.waits.discard(other)
        if state != "succeeded" and after.failure != "run":
            model.state = "cancelled" if after.failure == "cancel" else "failed"
            self._tell(model)
        elif after.first or not model.waits:
            model.state = "scheduled" if model.run_at > self.clock.now else "ready"

    def _tell(self, ended: Model) -> None:
        for model in list(self.jobs.values()):
            self._hears(model, ended.job.id, ended.state)

    def _holder(self, key: str) -> Model | None:
        model = self.jobs.get(self.holders.get(key, ""))
        unique = None if model is None else model.job.unique
        if model is None or unique is None:
            return None
        return model if holds_key(unique, model.state, model.token, model.posted_at, self.clock.now) else None

    @rule(state=st.sampled_from(["ready", "succeeded"]), priority=st.sampled_from([LOW, HIGH]))
    def load(self, state: State, priority: int) -> None:
        """A job of another store, where two attempts of it had ended."""
        number = next(self.numbers)
        job = Job(task="work", id=f"j{number}", priority=priority)
        row = Row(job=job, state=state, priority=priority, token=5, attempt=2, posted_at=1)
        ended = tuple(attempt(replace(row, attempt=number)) for number in (1, 2))
        assert self.store.load([Record(row, ended), Record(row)]) == [True, False]
        self.jobs[job.id] = Model(job, number, state, priority, 0, 2, 5, 1, ended=2)

    @rule(name=st.sampled_from(["gpu", "queue:default"]), units=st.sampled_from([None, 0, 1, GPUS, 3]))
    def limit(self, name: str, units: int | None) -> None:
        self.store.limit({name: units})
        self.limits.pop(name, None)
        if units is not None:
            self.limits[name] = units

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), kind=st.sampled_from(["cancel", "rerun", "forget"]))
    def change(self, data: st.DataObject, kind: Literal["cancel", "rerun", "forget"]) -> None:
        model = self.jobs[data.draw(st.sampled_from(sorted(self.jobs)), label="job")]
        before = model.state
        after: State | None = model.state
        if kind == "forget" and before in FINAL:
            self._forget(model)
            after = None
        elif kind == "rerun" and before in FINAL and self._takes_key_back(model):
            model.state, model.priority = "ready", model.job.priority
            after = "ready"
        elif kind == "cancel" and before == "running":
            model.cancelling = True
        elif kind == "cancel" and before not in FINAL:
            model.state = after = "cancelled"
            self._tell(model)
        (changed,) = self.store.change([model.job.id], Ask(kind=kind))
        assert (changed.before, changed.after) == (before, after)

    def _forget(self, model: Model) -> None:
        del self.jobs[model.job.id]
        self.applied = {fence for fence in self.applied if fence.job_id != model.job.id}

    def _takes_key_back(self, model: Model) -> bool:
        if model.job.unique is None:
            return True
        holder = self._holder(model.job.unique.key)
        if holder is not None and holder is not model:
            return False
        self.holders[model.job.unique.key] = model.job.id
        return True

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
        model, fence = self.jobs.get(run.job.id), run.fence
        run_at = self.clock.now + 5 * SECOND
        holds = model is not None and model.holds(fence)
        (applied,) = self.store.finish([end(run, state, run_at=run_at, priority=run.priority - sunk)])
        assert applied == (holds or fence in self.applied)
        if model is not None and holds:
            self.applied.add(fence)
            model.ended += 1
            given_up = model.cancelling and state not in FINAL
            model.state = "cancelled" if given_up else state
            model.priority, model.run_at, model.cancelling = run.priority - sunk, run_at, False
            if model.state in FINAL:
                self._tell(model)

    @rule(run=runs)
    def renew(self, run: Row) -> None:
        model, fence = self.jobs.get(run.job.id), run.fence
        renewal = self.store.renew(info("e1"), [fence], LEASE)
        if model is None or not model.holds(fence):
            assert (renewal.lost, renewal.cancelling) == ([fence], [])
        else:
            assert (renewal.lost, renewal.cancelling) == ([], [fence] if model.cancelling else [])
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
        running = [model for model in self.jobs.values() if model.state == "running"]
        free = self.limits.get("gpu", 0) - sum(model.gpus for model in running)
        places = self.limits.get("queue:default", len(self.jobs) + 1) - len(running)
        chosen: list[Model] = []
        for model in sorted(self.jobs.values(), key=lambda model: (-model.priority, model.order)):
            fits = (model.gpus == 0 or model.gpus <= free) and len(chosen) < min(count, places)
            if model.state == "ready" and model.job.task == "work" and fits:
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
        waits = {row.job.id: set(row.after.jobs) for row in rows if row.after is not None}
        assert waits == {name: model.waits for name, model in self.jobs.items() if model.state == "blocked"}

    @invariant()
    def limits_are_as_set(self) -> None:
        assert self.store.limits() == self.limits

    @invariant()
    def each_applied_end_is_one_attempt(self) -> None:
        ended = {name: model.ended for name, model in self.jobs.items() if model.ended}
        assert Counter(one.job_id for one in self.store.attempts(list(self.jobs))) == ended
