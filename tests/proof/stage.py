"""A stage: a real store with a clock that stands still, on which histories are played by hand."""

from __future__ import annotations

from typing import Any

from ostinato.book import Book, job_for
from ostinato.lifecycle import decide, lost
from ostinato.model import SECOND, After, EventKind, Job, Outcome, OutcomeKind, Row
from ostinato.schedule import define
from ostinato.storage import Ask, JobQuery, Note, Record, Rescue
from ostinato.testing.clock import FakeClock
from ostinato.testing.history import Call, Effect, Facts, Fault, Heard, History, Kept, Planned, Seen, gathered
from ostinato.testing.samples import LEASE, want
from ostinato_memory.store import MemoryStore

TOLD: dict[str, EventKind] = {"succeeded": "success", "failed": "fail", "cancelled": "cancel"}


class Stage:
    """Every step is seen by all witnesses whom it concerns, a second apart."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore(self.clock)
        self.store.open()
        self.store.limit({"gpu": 1})
        self.seen: list[Seen] = []
        self._calls = 0
        self._pid = 100

    def post(self, *jobs: Job, outcome: str = "ok") -> None:
        began = self.clock.advance(1)
        posted = self.store.post(jobs)
        if outcome == "ok":
            ids, created = tuple(one.id for one in posted), tuple(one.created for one in posted)
            self._call("post", "ok", began, jobs=ids, created=created, count=len(jobs))
        else:
            self._call("post", outcome, began, count=len(jobs))

    def ask(self, kind: Any, job_id: str) -> None:
        began = self.clock.advance(1)
        (changed,) = self.store.change([job_id], Ask(kind=kind))
        self._call(kind, "ok", began, jobs=(job_id,), states=(changed.after,))

    def limit(self, **capacities: int | None) -> None:
        """Names with ``__`` for the colon."""
        limits = {name.replace("__", ":"): most for name, most in capacities.items()}
        began = self.clock.advance(1)
        self.store.limit(limits)
        self._call("limit", "ok", began, limits=limits)

    def schedule(self, name: str, job: Job) -> None:
        """It ticks every two seconds."""
        made = define(name, job, every=2, anchor=self.clock.now, overlap="allow", catch_up="all")
        Book(self.store).add(made, replacing=False)

    def tick(self, name: str, job_id: str) -> None:
        """The next tick has come."""
        page = Book(self.store).page(name)
        tick = (page.last or page.schedule.anchor) + 2 * SECOND
        self.clock.now = max(self.clock.now, tick)
        assert self.store.tick(name, tick, [job_for(page.schedule, tick, job_id)])

    def _call(self, op: Any, outcome: Any, began: int, **fields: Any) -> None:
        self._calls += 1
        ended = self.clock.advance(0.001)
        call = Call(client="c1", number=self._calls, op=op, outcome="asked", began=began, count=fields.get("count", 0))
        answer = Call(client="c1", number=self._calls, op=op, outcome=outcome, began=began, ended=ended, **fields)
        self.seen += [call, answer]

    def claim(self, executor: str = "e1") -> Row:
        self.clock.advance(1)
        (row,) = self.store.claim(executor, want(count=1, queues=("*",))).rows
        self.effect(row, "begin")
        return row

    def effect(self, row: Row, kind: Any, **fields: Any) -> None:
        at = self.clock.now
        mine = [one for one in self.seen if isinstance(one, Effect) and (one.job, one.attempt) == _name(row)]
        if not mine:
            self._pid += 1
        pid = mine[0].pid if mine else self._pid
        self.seen.append(Effect(kind=kind, job=row.job.id, attempt=row.attempt, pid=pid, at=at, steady=at, **fields))

    def end(self, row: Row, kind: OutcomeKind = "success", *, takes: float = 1, posts: tuple[Job, ...] = ()) -> None:
        self.clock.advance(takes)
        if kind == "success":
            self.effect(row, "end", posts=tuple(job.id for job in posts))
        outcome = Outcome(kind=kind, started_at=row.started_at or 0, ended_at=self.clock.now, posts=posts)
        self._finish(row, outcome, row.executor_id or "")

    def suspend(self, row: Row, *posts: Job) -> None:
        """A flow waits for these, its steps."""
        self.clock.advance(1)
        after = After(tuple(job.id for job in posts), "run")
        times = {"started_at": row.started_at or 0, "ended_at": self.clock.now}
        self._finish(row, Outcome(kind="suspended", posts=posts, after=after, **times), row.executor_id or "")

    def kill(self, executor: str) -> None:
        self.clock.advance(1)
        self.seen.append(Fault(kind="kill", whom=executor, began=self.clock.now, ended=self.clock.now))

    def rescue(self, executor: str) -> None:
        """The leases of the dead run out, and another executor takes their runs over."""
        self.clock.advance(LEASE / SECOND)
        for row in self.store.rescue(executor, Rescue(lease=LEASE)):
            self.hear("rescue", executor, row)
            self._finish(row, lost(row, self.clock.now), executor)

    def _finish(self, row: Row, outcome: Outcome, executor: str) -> None:
        (applied,) = self.store.finish([(row.fence, end := decide(row, outcome, self.clock.now, lambda: 0.0))])
        assert applied
        self.store.note([Note(row.job.id, row.token, row.attempt, "log", "")])
        self.hear(TOLD.get(end.state, "retry"), executor, row)

    def hear(self, kind: EventKind, executor: str, row: Row) -> None:
        self.seen.append(Heard(kind=kind, executor=executor, at=self.clock.now, job=row.job.id, attempt=row.attempt))

    def history(self, **facts: Any) -> History:
        rows = self.store.find(JobQuery(limit=1000)).rows
        attempts = self.store.attempts([row.job.id for row in rows])
        kept = [Kept(Record(row, tuple(one for one in attempts if one.job_id == row.job.id))) for row in rows]
        planned = [Planned(page.schedule, page.last) for page in Book(self.store).read().values()]
        known = Facts(lease=LEASE, slots=4, capacities={"gpu": 1, "queue:default": 9}, every_tick=("pulse",), **facts)
        return gathered([*self.seen, *kept, *planned, known])


def _name(row: Row) -> tuple[str, int]:
    return row.job.id, row.attempt
