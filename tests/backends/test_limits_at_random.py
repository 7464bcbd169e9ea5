"""Random jobs, resources, limits, rates and slots: what must hold of every claim, on every store.

Never over a limit at any instant; never is a job passed over that could have started; never is a unit leaked, not
even when executors are killed: their leases run out, or others know that they are dead.
"""

from __future__ import annotations

import os
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from stores import NewUrl, on_empty_stores

from ostinato.model import SECOND, Job, Row
from ostinato.plugins import open_test_store
from ostinato.rules import unbounded, units_of
from ostinato.storage import JobQuery, Rate, Rescue, Store, Want
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import LEASE, end

FULL = bool(os.environ.get("OSTINATO_TEST_FULL"))
QUEUES, TASKS, EXECUTORS = ("q0", "q1"), ("t0", "t1"), ("e0", "e1")
RESOURCES = ("resource:gpu", "resource:disk", "key:c7")
NAMES = (*RESOURCES, "queue:q0", "task:t0")
SLOTS = 4

holds = st.dictionaries(st.sampled_from(RESOURCES), st.integers(1, 3), max_size=3).map(
    lambda units: tuple(sorted(units.items()))
)
a_post = st.tuples(
    st.just("post"),
    st.lists(
        st.builds(
            Job,
            task=st.sampled_from(TASKS),
            queue=st.sampled_from(QUEUES),
            priority=st.sampled_from([0, 0, 5]),
            front=st.booleans(),
            slots=st.sampled_from([1, 1, 2, 3]),
            holds=holds,
        ),
        min_size=1,
        max_size=4,
    ),
)
some = st.sampled_from(NAMES)
capacities = st.none() | st.integers(0, 4)
rates = st.none() | st.builds(Rate, st.integers(1, 2), st.just(3 * SECOND))
a_limit = st.tuples(st.just("limit"), st.dictionaries(some, capacities, min_size=1))
a_rate = st.tuples(st.just("rate"), st.dictionaries(some, rates, min_size=1))
a_claim = st.tuples(st.just("claim"), st.sampled_from(EXECUTORS))
an_end = st.tuples(st.just("end"), st.tuples(st.integers(0, 9), st.sampled_from(["succeeded", "ready"])))
a_death = st.tuples(st.just("die"), st.sampled_from(EXECUTORS))
a_lapse = st.tuples(st.just("lapse"), st.sampled_from(EXECUTORS))
a_while = st.tuples(st.just("pass"), st.sampled_from([1, 2, 40]))
steps = st.lists(
    st.one_of(a_post, a_post, a_limit, a_rate, a_claim, a_claim, an_end, a_death, a_lapse, a_while), max_size=30
)


class World:
    """The store, and what should be so, counted from nothing but what was claimed and ended."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store, self.clock = store, clock
        self.places: dict[str, int] = {}
        self.running: dict[str, Row] = {}
        self.limits: dict[str, int] = {"resource:gpu": 2, "resource:disk": 3}
        self.rates: dict[str, Rate] = {}
        self.starts: list[tuple[int, str]] = []
        store.limit(self.limits)

    def post(self, jobs: list[Job]) -> None:
        named = []
        for job in jobs:
            number = len(self.places) + 1
            named.append(Job(**{**{f: getattr(job, f) for f in job.__struct_fields__}, "id": f"j{number:03}"}))
            self.places[f"j{number:03}"] = -number if job.front else number
        self.store.post(named)

    def limit(self, limits: dict[str, int | None]) -> None:
        self.store.limit(limits)
        for name, limit in limits.items():
            self.limits.pop(name, None)
            if limit is not None:
                self.limits[name] = limit

    def rate(self, rates: dict[str, Rate | None]) -> None:
        if set(rates) & set(self.rates):  # whether what started under the rate before counts, is the store's choice
            rates = {name: rate for name, rate in rates.items() if name not in self.rates}
        rates = {name: rate for name, rate in rates.items() if rate is not None}
        self.store.limit({}, rates)
        self.rates.update(rates)  # type: ignore[arg-type]
        self.starts = [(at, name) for at, name in self.starts if name not in rates]

    def used(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for row in self.running.values():
            total.update(units_of(row.job))
        return total

    def fits(self, job: Job) -> bool:
        used = self.used()
        for name, units in units_of(job).items():
            if used[name] + units > self.limits.get(name, 10**9 if unbounded(name) else 0):
                return False
            rate = self.rates.get(name)
            if rate and self.started(name, rate) >= rate.count:
                return False
        return True

    def started(self, name: str, rate: Rate) -> int:
        return sum(one == name and at > self.clock.now - rate.per for at, one in self.starts)

    def claim(self, owner: str) -> None:
        slots = SLOTS - sum(row.job.slots for row in self.running.values() if row.executor_id == owner)
        ready = self.store.find(JobQuery(states=("ready",), limit=1000)).rows
        line = sorted(ready, key=lambda row: (-row.priority, self.places[row.job.id]))
        want = Want(tasks=dict.fromkeys(TASKS, 1), queues=("*",), slots=slots, capacity=SLOTS, count=100, lease=LEASE)
        claimed = {row.job.id: row for row in self.store.claim(owner, want).rows}
        for row in line:  # exactly those, in their order, and nobody else
            if not self.fits(row.job):
                continue
            if row.job.slots > slots:
                break
            assert row.job.id in claimed, f"{row.job.id} was passed over"
            slots -= row.job.slots
            self.running[row.job.id] = claimed.pop(row.job.id)
            self.starts += [(self.clock.now, name) for name in units_of(row.job) if name in self.rates]
        assert not claimed, f"{list(claimed)} should not have started"

    def end(self, which: tuple[int, str]) -> None:
        number, state = which
        if self.running:
            row = list(self.running.values())[number % len(self.running)]
            assert self.store.finish([end(row, state)]) == [True]  # type: ignore[arg-type]
            del self.running[row.job.id]

    def die(self, owner: str) -> None:
        """Its runs are taken over, and hold what they hold until these end; the former ends are refused."""
        zombies = {row.job.id: row for row in self.running.values() if row.executor_id == owner}
        rescued = self.store.rescue("rescuer", Rescue(dead=(owner,), lease=LEASE))
        late = {row.job.id: row for row in rescued}
        assert zombies.keys() <= late.keys()
        assert self.store.finish([end(row) for row in zombies.values()]) == [False] * len(zombies)
        for job_id, row in late.items():
            self.running[job_id] = Row(
                **{**{f: getattr(row, f) for f in row.__struct_fields__}, "executor_id": "rescuer"}
            )

    def lapse(self, owner: str) -> None:
        """Whoever ran something is dead, and nobody knows: the leases run out, and this one takes all over."""
        self.clock.advance(LEASE / SECOND + 1)
        zombies = list(self.running.values())
        late = self.store.rescue(owner, Rescue(lease=LEASE))
        assert {row.job.id for row in late} == self.running.keys()
        assert self.store.finish([end(row) for row in zombies]) == [False] * len(zombies)
        assert self.store.finish([end(row, "ready") for row in late]) == [True] * len(late)
        self.running.clear()

    def pass_(self, seconds: int) -> None:
        self.clock.advance(seconds)

    def check(self) -> None:
        found = self.store.find(JobQuery(states=("running",), limit=1000)).rows
        assert {row.job.id: row.token for row in found} == {key: row.token for key, row in self.running.items()}


def play(url: str, steps: list[tuple[str, object]]) -> None:
    clock = FakeClock()
    store = open_test_store(url, clock)
    store.open()
    try:
        world = World(store, clock)
        for verb, what in steps:
            before = world.used()
            getattr(world, "pass_" if verb == "pass" else verb)(what)
            world.check()
            for name, units in world.used().items():  # a limit that was lowered stops what starts, not what runs
                most = world.limits.get(name, 10**9 if unbounded(name) else 0)
                assert units <= max(most, before[name]), name
        drain(world)
    finally:
        store.close()


@on_empty_stores()
def test_limits_hold_and_nobody_is_passed_over(new_url: NewUrl) -> None:
    """Fewer examples where each step is a way to a server and back."""
    remote = not new_url().startswith(("memory:", "sqlite:"))

    @settings(max_examples=1000 if FULL else 20 if remote else 60, deadline=None)
    @given(steps=steps)
    def plays(steps: list[tuple[str, object]]) -> None:
        play(new_url(), steps)

    plays()


def drain(world: World) -> None:
    """When all have ended nothing is held: all that can ever start does."""
    for owner in EXECUTORS:
        world.die(owner)
    while world.running:
        world.end((0, "succeeded"))
    world.limit({"resource:gpu": 3, "resource:disk": 3, "key:c7": None, "queue:q0": None, "task:t0": None})
    while True:
        world.clock.advance(10)
        world.claim("e0")
        if not world.running:
            break
        while world.running:
            world.end((0, "succeeded"))
    assert world.store.find(JobQuery(states=("ready",))).rows == []
