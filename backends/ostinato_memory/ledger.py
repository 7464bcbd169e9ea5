"""The ledger: all jobs of a memory store, and the indexes that every change keeps in step.

Not locked: `MemoryStore` holds ``lock`` around each verb. Several stores may share one ledger.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from threading import Lock
from typing import NamedTuple

from msgspec.structs import replace

from ostinato.errors import AlreadyPosted
from ostinato.model import FINAL, HIGH, After, Channel, ExecutorInfo, Job, State
from ostinato.rules import consequence, first_state, holds_key, suits
from ostinato.storage import Entry, Posted, Rate, Want
from ostinato_memory.lane import Capacities, Key, Lane, Place, Rates, lane_key
from ostinato_memory.listeners import MemoryListener
from ostinato_memory.record import Record


class Draft(NamedTuple):
    """What a post will change, once all of it is known to be sound."""

    new: list[Record]
    replaced: list[tuple[Record, Job]]
    answers: list[Posted]


Due = list[tuple[int, str]]
"""A heap of (time, job id). Entries that no longer apply are dropped when their time comes."""


class Ledger:
    def __init__(self) -> None:
        self.lock = Lock()
        self.records: dict[str, Record] = {}  # in the order posted
        self.running: dict[str, Record] = {}
        self.holders: dict[str, Record] = {}  # of unique keys: who held it last
        self.ticks: dict[str, int] = {}
        self.entries: dict[tuple[str, str], Entry] = {}
        self.rates = Rates()
        self.executors: dict[str, ExecutorInfo] = {}
        self.capacities = Capacities()
        self.listeners: set[MemoryListener] = set()
        self.waiters: defaultdict[str, dict[str, None]] = defaultdict(dict)  # by the job that they wait for
        self._ended: deque[Record] = deque()  # whose consequences are still to be drawn
        self.flows: defaultdict[str, dict[str, None]] = defaultdict(dict)  # all steps, by their flow
        self.steps: defaultdict[str, dict[str, None]] = defaultdict(dict)  # by their flow, those that have not ended
        self.lanes: dict[Key, Lane] = {}
        self._waiting: set[Lane] = set()  # lanes with somebody in line, but for those
        self._parked: defaultdict[str, set[Lane]] = defaultdict(set)  # that wait for what is full, by its name
        self._starts: Due = []
        self._promotions: Due = []
        self._expiries: Due = []
        self._timeouts: Due = []  # of waiting jobs
        self._posted = 0

    def tell(self, *channels: Channel) -> None:
        for listener in tuple(self.listeners):
            for channel in channels:
                listener.hear(channel)

    # coming and going

    def draft(self, jobs: Sequence[Job], now: int) -> Draft:
        """What a post of the jobs comes to. Anything wrong with a job shows here, before the first
        of them is admitted."""
        new: dict[str, Record] = {}
        keys: dict[str, Record] = {}
        draft = Draft([], [], [])
        for job in jobs:
            known = job.id in self.records or job.id in new
            twin = None if known or job.unique is None else keys.get(job.unique.key) or self.holder(job.unique.key, now)
            if twin is not None and job.unique is not None:
                if job.unique.on_conflict == "raise":
                    raise AlreadyPosted(job.unique.key, twin.job.id)
                if job.unique.on_conflict == "replace" and twin.state in ("scheduled", "ready") and not twin.token:
                    draft.replaced.append((twin, replace(job, id=twin.job.id, front=twin.job.front)))
            elif not known:
                new[job.id] = Record(job, self.lane(job), first_state(job, job.run_at, now), now)
                if job.unique is not None:
                    keys[job.unique.key] = new[job.id]
            draft.answers.append(Posted(twin.job.id if twin else job.id, not (known or twin)))
        draft.new.extend(new.values())
        return draft

    def admit(self, draft: Draft, now: int) -> None:
        for record in draft.new:
            if record.job.after is not None:
                record.state = "blocked"
            self.add(record, now)
            if record.job.after is not None:
                self.wait_for(record, record.job.after, now)
        for record, job in draft.replaced:
            self._replace(record, job, now)
        if draft.new or draft.replaced:
            self.tell("ready")

    def add(self, record: Record, now: int) -> None:
        self._posted += 1
        record.sequence = self._posted
        record.position = -self._posted if record.job.front else self._posted
        self.records[record.job.id] = record
        record.lane.counts[record.state] += 1
        if record.job.unique is not None and self.holder(record.job.unique.key, now) is None:
            self.holders[record.job.unique.key] = record
        if record.job.flow is not None:
            self.flows[record.job.flow][record.job.id] = None
            if not record.final:
                self.steps[record.job.flow][record.job.id] = None
        for job_id in record.awaits:
            self.waiters[job_id][record.job.id] = None
        if record.expires_at is not None:
            heappush(self._expiries, (record.expires_at, record.job.id))
        self._line_up(record)

    def _replace(self, record: Record, job: Job, now: int) -> None:
        """All of a waiting job but its id and its place in line."""
        record.lane.counts[record.state] -= 1
        record.job, record.lane, record.state = job, self.lane(job), first_state(job, job.run_at, now)
        if job.after is not None:
            record.state = "blocked"
        record.priority, record.run_at, record.expires_at = job.priority, job.run_at, job.expires_at
        record.lane.counts[record.state] += 1
        if record.expires_at is not None:
            heappush(self._expiries, (record.expires_at, job.id))
        self._line_up(record)
        if job.after is not None:
            self.wait_for(record, job.after, now)

    def holder(self, key: str, now: int) -> Record | None:
        """Who holds the unique key."""
        record = self.holders.get(key)
        return record if record is not None and self._holds(record, now) else None

    def _holds(self, record: Record, now: int) -> bool:
        unique = record.job.unique
        known = self.records.get(record.job.id) is record
        return known and unique is not None and holds_key(unique, record.state, record.token, record.posted_at, now)

    def forget(self, record: Record) -> None:
        del self.records[record.job.id]
        if record.job.flow is not None:
            self._left(self.flows, record.job.flow, record.job.id)
        if record.job.unique is not None and self.holders.get(record.job.unique.key) is record:
            del self.holders[record.job.unique.key]
        lane = record.lane
        lane.counts[record.state] -= 1
        if not any(lane.counts.values()):
            self._waiting.discard(lane)
            for name in [name for name, _ in lane.units if lane in self._parked.get(name, ())]:
                self._parked[name].discard(lane)
            self.lanes.pop(lane.key, None)

    def lane(self, job: Job) -> Lane:
        key = lane_key(job)
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = Lane(key)
        return lane

    # from state to state

    def enter(self, record: Record, state: State, now: int) -> None:
        """Change the state, and all that depends on it."""
        lane = record.lane
        lane.counts[record.state] -= 1
        lane.counts[state] += 1
        if record.final and record.job.flow is not None:
            self.steps[record.job.flow][record.job.id] = None
        if record.state == "running":
            del self.running[record.job.id]
            record.lease_until = None
            record.cancelling = False
            if self.capacities.release(lane):
                self._unpark(name for name, _ in lane.units)
                self.tell("ready")
        record.state = state
        if state == "running":
            self.running[record.job.id] = record
            self.capacities.occupy(lane)
        elif state in FINAL:
            record.ended_at = now
            self.tell("ended")
            if self._matters(record):
                self._ended.append(record)
                if len(self._ended) == 1:  # else it is a consequence of one that is dealt with just now
                    self._draw_consequences(now)
        else:
            record.ended_at = None
            self._line_up(record)
            self.tell("ready")

    # jobs that depend on others

    def wait_for(self, record: Record, after: After, now: int) -> None:
        """A blocked job waits from now on, if there still is anything to wait for."""
        record.after, record.awaits = after, dict.fromkeys(after.jobs)
        known = {job_id: self.records.get(job_id) for job_id in after.jobs}
        ended: dict[str, State] = {
            job_id: "succeeded" if one is None else one.state
            for job_id, one in known.items()
            if one is None or one.final
        }
        for job_id in after.jobs:
            self.waiters[job_id][record.job.id] = None
        self._hear(record, ended, now)

    def look_back(self, record: Record, now: int) -> None:
        """What a loaded job waits for may have ended here."""
        known = [one for job_id in record.awaits if (one := self.records.get(job_id)) is not None]
        self._hear(record, {one.job.id: one.state for one in known if one.final}, now)

    def lift_expiry(self, record: Record) -> None:
        """Of a job that is run again; a time that has a default for its end runs on."""
        if record.job.default is None:
            record.expires_at = None
        elif record.expires_at is not None:
            heappush(self._expiries, (record.expires_at, record.job.id))

    def stop_waiting(self, record: Record) -> None:
        for job_id in record.awaits:
            self._left(self.waiters, job_id, record.job.id)
        record.after, record.awaits = None, {}

    def ask_to_end(self, record: Record, reason: str, now: int) -> None:
        """The ask ``cancel``, for a job that has not ended."""
        record.reason = reason
        if record.state == "running":
            record.cancelling = True
            self.tell("orders")
        else:
            self.enter(record, "cancelled", now)

    def _matters(self, record: Record) -> bool:
        """Whether anything follows from its end. Of most jobs nothing does."""
        job = record.job
        return record.after is not None or job.flow is not None or job.id in self.waiters or job.id in self.steps

    def _draw_consequences(self, now: int) -> None:
        """Those that waited for a job that has ended hear of it, and its own steps end with it."""
        while self._ended:
            record = self._ended[0]
            job_id = record.job.id
            self.stop_waiting(record)
            if record.job.flow is not None:
                self._left(self.steps, record.job.flow, job_id)
            for waiter in list(self.waiters.get(job_id, ())):
                self._hear(self.records[waiter], {job_id: record.state}, now)
            for step in list(self.steps.get(job_id, ())):
                self.ask_to_end(self.records[step], f"its flow {job_id} has ended", now)
            self._ended.popleft()

    def _hear(self, record: Record, ended: Mapping[str, State], now: int) -> None:
        """Some of what a blocked job waits for has ended."""
        if record.after is None:
            return
        for job_id in ended:
            self._left(self.waiters, job_id, record.job.id)
            record.awaits.pop(job_id, None)
        fate = consequence(record.after, ended, bool(record.awaits))
        if fate is None:
            return
        self.stop_waiting(record)
        state, record.reason = fate
        self.enter(record, first_state(record.job, record.run_at, now) if state == "ready" else state, now)

    @staticmethod
    def _left(index: defaultdict[str, dict[str, None]], key: str, job_id: str) -> None:
        members = index.get(key, {})
        members.pop(job_id, None)
        if not members:
            index.pop(key, None)

    def limit(self, capacities: Mapping[str, int | None], rates: Mapping[str, Rate | None]) -> None:
        self.capacities.set(capacities)
        self.rates.set(rates)
        self._unpark(capacities)
        self.tell("ready")

    def _unpark(self, names: Iterable[str]) -> None:
        """There may be room again. A claim does not look at parked lanes: there may be thousands, one a key."""
        for name in names:
            self._waiting |= self._parked.pop(name, set())

    def _line_up(self, record: Record) -> None:
        """Put a job that waits where a claim, now or later, will find it."""
        job_id, promote_at = record.job.id, record.job.promote_at
        if record.state == "ready":
            record.lane.push(record.priority, record.position, job_id)
            self._waiting.add(record.lane)
        elif record.state == "scheduled":
            heappush(self._starts, (record.run_at, job_id))
        elif record.state == "waiting" and record.expires_at is not None:
            heappush(self._timeouts, (record.expires_at, job_id))
        if promote_at is not None and record.priority < HIGH:
            heappush(self._promotions, (promote_at, job_id))

    # what time brings

    def pass_time(self, now: int) -> list[Record]:
        """Bring due jobs to the line, promote those near their deadline; answers with the expired."""
        expired = []
        for record in self._due(self._expiries, now, lambda record: _expires(record, now)):
            if record.job.default is None:
                self.enter(record, "expired", now)
                expired.append(record)
            else:
                record.result = record.job.default
                self.enter(record, "succeeded", now)
        for record in self._due(self._promotions, now, lambda record: _promotes(record, now)):
            record.priority = HIGH
            self._line_up(record)
        for record in self._due(self._starts, now, lambda record: _starts(record, now)):
            self.enter(record, "ready", now)
        return expired

    def next_start(self, want: Want, now: int) -> int | None:
        """When the next scheduled job comes due, the time of a waiting one runs out, or a rate lets go of
        one that waits."""
        times = [self._next_scheduled(), self._next_timeout()]
        if self.rates:
            times += [self.rates.free_at(lane, now) for lane in self._waiting if suits(lane, want)]
        return min((at for at in times if at is not None), default=None)

    def _next_scheduled(self) -> int | None:
        return self._first(self._starts, lambda record, time: record.state == "scheduled" and record.run_at == time)

    def _next_timeout(self) -> int | None:
        return self._first(
            self._timeouts,
            lambda record, time: record.state == "waiting" and not record.attempt and record.expires_at == time,
        )

    def _first(self, heap: Due, applies: Callable[[Record, int], bool]) -> int | None:
        while heap:
            time, job_id = heap[0]
            record = self.records.get(job_id)
            if record is not None and applies(record, time):
                return time
            heappop(heap)
        return None

    def _due(self, heap: Due, now: int, applies: Callable[[Record], bool]) -> Iterator[Record]:
        while heap and heap[0][0] <= now:
            _, job_id = heappop(heap)
            record = self.records.get(job_id)
            if record is not None and applies(record):
                yield record

    # claiming

    def choose(self, want: Want, now: int) -> Iterator[Record]:
        """The jobs to start now, best first. The caller enters each into ``running`` before it
        asks for the next, so that the capacities count it."""
        lanes = [lane for lane in tuple(self._waiting) if suits(lane, want) and not self._park(lane)]
        heads = [(head, lane) for lane in lanes if (head := self._head(lane))]
        heapify(heads)
        slots, count = want.slots, want.count
        while heads and count > 0:
            (_, _, job_id), lane = heads[0]
            if self.capacities.full(lane) is not None or self.rates.free_at(lane, now) is not None:
                heappop(heads)
                continue
            if lane.slots > slots:  # the free slots are kept for it, else light jobs would starve it
                return
            slots -= lane.slots
            count -= 1
            lane.pop()
            yield self.records[job_id]
            head = self._head(lane)
            if head:
                heapreplace(heads, (head, lane))
            else:
                heappop(heads)

    def _park(self, lane: Lane) -> bool:
        """Put it aside, if there is no room for it."""
        name = self.capacities.full(lane)
        if name is not None:
            self._waiting.discard(lane)
            self._parked[name].add(lane)
        return name is not None

    def _head(self, lane: Lane) -> Place | None:
        """The place of the first job that is still in line; forgets the stale ones before it."""
        line, records = lane.line, self.records
        while line:
            place = line[0]
            record = records.get(place[2])
            if (
                record is not None
                and record.lane is lane
                and record.state == "ready"
                and record.priority == -place[0]
                and record.position == place[1]
            ):
                return place
            lane.pop()
        self._waiting.discard(lane)
        return None


def _expires(record: Record, now: int) -> bool:
    return record.pending and not record.attempt and record.expires_at is not None and record.expires_at <= now


def _promotes(record: Record, now: int) -> bool:
    promote_at = record.job.promote_at
    return record.pending and record.priority < HIGH and promote_at is not None and promote_at <= now


def _starts(record: Record, now: int) -> bool:
    return record.state == "scheduled" and record.run_at <= now
