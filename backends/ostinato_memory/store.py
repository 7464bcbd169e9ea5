"""The memory store: every verb of `ostinato.storage.Store`, one lock around each."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from operator import attrgetter

from msgspec.structs import replace

from ostinato.model import SECOND, WAITING, After, Attempt, Channel, End, ExecutorInfo, Fence, Job, Row, State
from ostinato.rules import first_state, way_out
from ostinato.storage import (
    NO_RATES,
    Ask,
    Changed,
    Claimed,
    Count,
    Entry,
    JobQuery,
    Listener,
    Note,
    Page,
    Posted,
    Rate,
    Renewal,
    Rescue,
    Want,
)
from ostinato.storage import Record as Stored
from ostinato_memory.ledger import Ledger
from ostinato_memory.listeners import MemoryListener
from ostinato_memory.record import Record

_DAY = 86_400 * SECOND


def _system_clock() -> int:
    return time.time_ns() // 1000


class MemoryStore:
    """Keeps all jobs in this process. Stores made with the same ``ledger`` share their jobs."""

    durable = "nothing: jobs live in this process's memory and are gone when it ends"

    def __init__(self, clock: Callable[[], int] = _system_clock, ledger: Ledger | None = None) -> None:
        self._clock = clock
        self._ledger = ledger or Ledger()
        self._lock = self._ledger.lock

    def open(self) -> None:
        """Nothing to connect to."""

    def close(self) -> None:
        with self._lock:
            for listener in tuple(self._ledger.listeners):
                if listener.owner is self:
                    listener.close()

    def now(self) -> int:
        return self._clock()

    # in

    def post(self, jobs: Sequence[Job]) -> list[Posted]:
        with self._lock:
            now = self.now()
            draft = self._ledger.draft(jobs, now)
            self._ledger.admit(draft, now)
            return draft.answers

    def load(self, records: Sequence[Stored]) -> list[bool]:
        with self._lock:
            return [self._load(record) for record in records]

    def _load(self, stored: Stored) -> bool:
        row, ledger = stored.row, self._ledger
        if row.job.id in ledger.records:
            return False
        record = Record(row.job, ledger.lane(row.job), row.state, row.posted_at)
        record.restore(row, stored.attempts)
        ledger.add(record, self.now())
        ledger.look_back(record, self.now())
        return True

    def tick(self, schedule: str, due: int, jobs: Sequence[Job]) -> bool:
        with self._lock:
            known = self._ledger.ticks.get(schedule)
            if known is not None and known >= due:
                return False
            now = self.now()
            draft = self._ledger.draft(jobs, now)
            self._ledger.ticks[schedule] = due
            self._ledger.admit(draft, now)
            return True

    def ticks(self) -> dict[str, int]:
        with self._lock:
            return dict(self._ledger.ticks)

    def limit(self, capacities: Mapping[str, int | None], rates: Mapping[str, Rate | None] = NO_RATES) -> None:
        with self._lock:
            self._ledger.limit(capacities, rates)

    def limits(self) -> dict[str, int]:
        with self._lock:
            return self._ledger.capacities.limits()

    def rates(self) -> dict[str, Rate]:
        with self._lock:
            return self._ledger.rates.all()

    def paces(self) -> dict[str, int]:
        """See `ostinato.storage.TellsPaces`."""
        with self._lock:
            return self._ledger.rates.paces(self.now())

    def keep(self, entries: Sequence[Entry]) -> list[bool]:
        with self._lock:
            return [self._keep(entry) for entry in entries]

    def _keep(self, entry: Entry) -> bool:
        key, kept = (entry.kind, entry.name), self._ledger.entries
        known = kept.get(key)
        if entry.version != (known.version if known else 0):
            return False
        if entry.value is None:
            kept.pop(key, None)
        else:
            kept[key] = replace(entry, version=entry.version + 1)
        self._ledger.tell("orders")
        return True

    def entries(self, kind: str) -> list[Entry]:
        with self._lock:
            return sorted((one for one in self._ledger.entries.values() if one.kind == kind), key=attrgetter("name"))

    # the loop

    def claim(self, executor_id: str, want: Want) -> Claimed:
        with self._lock:
            now, ledger = self.now(), self._ledger
            expired = [record.row() for record in ledger.pass_time(now)]
            rows = []
            for record in ledger.choose(want, now):
                ledger.rates.start(record.lane, now)
                ledger.enter(record, "running", now)
                record.attempt += 1
                record.token += 1
                record.executor_id = executor_id
                record.lease_until = now + want.lease
                record.started_at = now
                rows.append(record.row())
            return Claimed(rows=rows, now=now, next_at=ledger.next_start(want, now), expired=expired)

    def renew(self, executor: ExecutorInfo, fences: Sequence[Fence], lease: int) -> Renewal:
        with self._lock:
            now, executors = self.now(), self._ledger.executors
            lost, cancelling = [], []
            for fence in fences:
                record = self._held(fence)
                if record is None:
                    lost.append(fence)
                    continue
                if lease:
                    record.lease_until = now + lease
                if record.cancelling:
                    cancelling.append(fence)
            if lease:
                if executor.id not in executors:
                    self._ledger.tell("orders")  # the others want to know whom to look after
                executors[executor.id] = replace(executor, seen_at=now, lease_until=now + lease)
            else:
                executors.pop(executor.id, None)
            peers = [peer for peer in executors.values() if peer.id != executor.id and peer.lease_until > now]
            return Renewal(now=now, lost=lost, cancelling=cancelling, peers=peers)

    def note(self, notes: Sequence[Note]) -> list[bool]:
        with self._lock:
            return [self._note(note) for note in notes]

    def _note(self, note: Note) -> bool:
        if note.key == "log":
            return self._note_log(note)
        record = self._held(Fence(note.job_id, note.token))
        if record is None:
            return False
        if note.key == "progress":
            record.progress = note.value
        elif note.key == "checkpoint":
            record.checkpoint = note.value
        else:
            record.steps.setdefault(note.name, note.value)
        return True

    def _note_log(self, note: Note) -> bool:
        record = self._ledger.records.get(note.job_id)
        for token, attempt in record.ends.items() if record else ():
            if record and attempt.number == note.attempt:
                record.ends[token] = replace(attempt, log=note.value)
                return True
        return False

    def finish(self, ends: Sequence[tuple[Fence, End]]) -> list[bool]:
        with self._lock:
            return [self._finish(fence, end) for fence, end in ends]

    def _finish(self, fence: Fence, end: End) -> bool:
        record = self._held(fence)
        if record is None:
            known = self._ledger.records.get(fence.job_id)
            return known is not None and fence.token in known.ends
        now = self.now()
        state, reason = way_out(end, record.cancelling, record.reason)
        draft = self._ledger.draft(end.posts if state == end.state else (), now)
        record.ends[fence.token] = end.attempt
        record.priority = end.priority
        record.run_at = end.run_at
        record.charged = end.charged
        record.deaths = end.deaths
        record.result = end.result
        record.error = end.error
        record.reason = reason
        self._ledger.admit(draft, now)
        self._ledger.enter(record, state, now)
        if state == "blocked":
            self._ledger.wait_for(record, end.after or After(()), now)
        return True

    def rescue(self, executor_id: str, want: Rescue) -> list[Row]:
        with self._lock:
            now = self.now()
            orphans = (record for record in self._ledger.running.values() if _orphaned(record, want.dead, now))
            return [self._take_over(record, executor_id, now + want.lease) for record in islice(orphans, want.count)]

    def _take_over(self, record: Record, executor_id: str, lease_until: int) -> Row:
        former = record.executor_id
        record.token += 1
        record.executor_id = executor_id
        record.lease_until = lease_until
        return record.row(executor_id=former)

    def _held(self, fence: Fence) -> Record | None:
        """The running job of which the fence is the newest."""
        record = self._ledger.running.get(fence.job_id)
        return record if record is not None and record.token == fence.token else None

    # from outside

    def change(self, ids: Sequence[str], ask: Ask) -> list[Changed]:
        apply = {"cancel": self._cancel, "rerun": self._rerun, "forget": self._forget, "answer": self._answer}[ask.kind]
        with self._lock:
            return [self._change(job_id, apply, ask) for job_id in ids]

    def _change(self, job_id: str, apply: Callable[[Record, Ask], None], ask: Ask) -> Changed:
        record = self._ledger.records.get(job_id)
        if record is None:
            return Changed(job_id, None, None)
        before = record.state
        apply(record, ask)
        return Changed(job_id, before, record.state if job_id in self._ledger.records else None)

    def _cancel(self, record: Record, ask: Ask) -> None:
        if not record.final:
            self._ledger.ask_to_end(record, ask.reason, self.now())

    def _answer(self, record: Record, ask: Ask) -> None:
        if record.state == "waiting" and record.job.kind in WAITING:
            record.result, record.error, record.reason = ask.result, ask.error, ask.reason
            self._ledger.enter(record, "succeeded" if ask.error is None else "failed", self.now())

    def _rerun(self, record: Record, ask: Ask) -> None:
        unique, parked = record.job.unique, record.state == "waiting" and record.job.kind not in WAITING
        if not (record.final or parked):
            return
        if unique is not None:
            if self._ledger.holder(unique.key, self.now()) not in (None, record):
                return
            self._ledger.holders[unique.key] = record
        record.charged = record.deaths = record.run_at = 0
        record.priority = record.job.priority
        record.result = record.error = None
        self._ledger.lift_expiry(record)
        record.reason = ask.reason
        self._ledger.enter(record, first_state(record.job, 0, self.now()), self.now())

    def _forget(self, record: Record, ask: Ask) -> None:
        flow = None if record.job.flow is None else self._ledger.records.get(record.job.flow)
        if record.final and (flow is None or flow.final):
            self._ledger.forget(record)

    def find(self, query: JobQuery) -> Page:
        after = int(query.cursor) if query.cursor else None
        with self._lock:
            matching = (record for record in self._candidates(query) if _matches(record, query, after))
            found = list(islice(matching, query.limit + 1))
            more = len(found) > query.limit
            del found[query.limit :]
            rows = [record.row(brief=query.brief) for record in found]
            return Page(rows, str(found[-1].sequence) if more and found else None)

    def _candidates(self, query: JobQuery) -> Iterable[Record]:
        """The jobs to look at, in the order asked for; few, where an index knows them."""
        ledger = self._ledger
        if query.ids is not None:
            chosen = [ledger.records[job_id] for job_id in dict.fromkeys(query.ids) if job_id in ledger.records]
        elif query.flow is not None:
            chosen = [ledger.records[job_id] for job_id in ledger.flows.get(query.flow, ())]
        elif query.states == ("running",):
            chosen = list(ledger.running.values())
        else:
            return ledger.records.values() if query.oldest_first else reversed(ledger.records.values())
        chosen.sort(key=_sequence)
        if query.cursor:  # large flows are read page by page
            at = bisect_right(chosen, int(query.cursor), key=_sequence)
            chosen = chosen[at:] if query.oldest_first else chosen[:at]
        return chosen if query.oldest_first else reversed(chosen)

    def attempts(self, job_ids: Sequence[str]) -> list[Attempt]:
        with self._lock:
            records = [self._ledger.records.get(job_id) for job_id in dict.fromkeys(job_ids)]
            return [
                attempt
                for record in records
                if record is not None
                for attempt in sorted(record.ends.values(), key=lambda attempt: attempt.number)
            ]

    def executors(self) -> list[ExecutorInfo]:
        with self._lock:
            executors = self._ledger.executors
            owners = {record.executor_id for record in self._ledger.running.values()}
            for executor in list(executors.values()):
                if executor.id not in owners and executor.lease_until + _DAY < self.now():
                    del executors[executor.id]
            return list(executors.values())

    def count(self) -> list[Count]:
        totals: Counter[tuple[str, str, int, int, State]] = Counter()
        with self._lock:
            for lane in self._ledger.lanes.values():
                for state, jobs in lane.counts.items():
                    totals[lane.queue, lane.task, lane.version, lane.slots, state] += jobs
        return [
            Count(queue, task, state, jobs, version, slots)
            for (queue, task, version, slots, state), jobs in sorted(totals.items())
            if jobs
        ]

    # waking

    def listen(self, channels: frozenset[Channel]) -> Listener:
        with self._lock:
            return MemoryListener(channels, self._ledger.listeners, owner=self)


def _orphaned(record: Record, dead: Sequence[str], now: int) -> bool:
    return record.executor_id in dead or (record.lease_until is not None and record.lease_until <= now)


_sequence = attrgetter("sequence")


def _matches(record: Record, query: JobQuery, after: int | None) -> bool:
    job = record.job
    return (
        (after is None or (record.sequence > after if query.oldest_first else record.sequence < after))
        and (not query.states or record.state in query.states)
        and (not query.tasks or job.task in query.tasks)
        and (not query.queues or job.queue in query.queues)
        and (query.tag is None or query.tag in job.tags)
        and (query.flow is None or query.flow == job.flow)
        and (query.executor_id is None or record.executor_id == query.executor_id)
        and (query.ended_before is None or (record.ended_at is not None and record.ended_at < query.ended_before))
    )
