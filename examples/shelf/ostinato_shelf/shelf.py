"""The shelf: what the file holds, and the rules by which it changes. No file and no lock in here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from ostinato.errors import AlreadyPosted
from ostinato.model import FINAL, HIGH, After, Attempt, Channel, ExecutorInfo, Fence, Job, Row, State
from ostinato.rules import consequence, first_state, free_at, holds_key, suits, unbounded, units_of
from ostinato.storage import Entry, Posted, Rate, Record, Want


class Book(Struct):
    """One job. ``place`` is its place in line among equals; ``ends`` are its ended attempts by the
    token under which they were reported, so that a report that comes twice is known."""

    row: Row
    sequence: int
    place: int
    ends: dict[int, Attempt] = {}

    def change(self, **fields: object) -> None:
        self.row = replace(self.row, **fields)

    @property
    def pending(self) -> bool:
        return self.row.state != "running" and self.row.state not in FINAL


class Shelf(Struct):
    """All that the file holds. ``ended`` are jobs whose consequences are still to be drawn: none, between two verbs."""

    books: dict[str, Book] = {}
    ended: list[str] = []
    executors: dict[str, ExecutorInfo] = {}
    capacities: dict[str, int] = {}
    rates: dict[str, Rate] = {}
    starts: dict[str, list[int]] = {}
    ticks: dict[str, int] = {}
    entries: dict[str, dict[str, Entry]] = {}
    holders: dict[str, str] = {}
    news: dict[Channel, int] = {}
    posted: int = 0

    def tell(self, channel: Channel) -> None:
        self.news[channel] = self.news.get(channel, 0) + 1

    # coming

    def post(self, jobs: Sequence[Job], now: int) -> list[Posted]:
        return [self._post(job, now) for job in jobs]

    def _post(self, job: Job, now: int) -> Posted:
        if job.id in self.books:
            return Posted(job.id, created=False)
        twin = None if job.unique is None else self.holder(job.unique.key, now)
        if twin is not None and job.unique is not None:
            if job.unique.on_conflict == "raise":
                raise AlreadyPosted(job.unique.key, twin.row.job.id)
            if job.unique.on_conflict == "replace" and twin.row.state in ("scheduled", "ready") and not twin.row.token:
                kept = replace(job, id=twin.row.job.id, front=twin.row.job.front)
                twin.row = replace(new_row(kept, now), posted_at=twin.row.posted_at)
                self.wait_for(twin, job.after, now)
                self.tell("ready")
            return Posted(twin.row.job.id, created=False)
        self.add(Record(new_row(job, now)), now)
        self.wait_for(self.books[job.id], job.after, now)
        return Posted(job.id)

    def add(self, record: Record, now: int) -> None:
        job = record.row.job
        self.posted += 1
        place = -self.posted if job.front else self.posted
        ends = {attempt.number: attempt for attempt in record.attempts}
        self.books[job.id] = Book(record.row, self.posted, place, ends)
        if job.unique is not None and self.holder(job.unique.key, now) is None:
            self.holders[job.unique.key] = job.id
        self.tell("ready")

    def holder(self, key: str, now: int) -> Book | None:
        """Who holds a unique key now."""
        book = self.books.get(self.holders.get(key, ""))
        unique = None if book is None else book.row.job.unique
        if book is None or unique is None:
            return None
        row = book.row
        return book if holds_key(unique, row.state, row.token, row.posted_at, now) else None

    # from state to state

    def enter(self, book: Book, state: State, now: int, **fields: object) -> None:
        """The one way from state to state. What follows from an end is left to `draw_consequences`."""
        if state in FINAL and book.row.state not in FINAL:
            self.ended.append(book.row.job.id)
        ended_at = now if state in FINAL else None
        book.change(state=state, ended_at=ended_at, lease_until=None, cancelling=False, after=None, **fields)
        self.tell("ended" if state in FINAL else "ready")

    def ask_to_end(self, book: Book, reason: str, now: int) -> None:
        """The ask ``cancel``, for a job that has not ended."""
        if book.row.state == "running":
            book.change(cancelling=True, reason=reason)
            self.tell("orders")
        else:
            self.enter(book, "cancelled", now, reason=reason)

    def wait_for(self, book: Book, after: After | None, now: int) -> None:
        """It is blocked, if it comes after anything that has not ended yet."""
        if after is not None:
            book.change(state="blocked", after=after)
            others = {job_id: self.books.get(job_id) for job_id in after.jobs}
            states = {job_id: "succeeded" if other is None else other.row.state for job_id, other in others.items()}
            self._hear(book, after, {job_id: state for job_id, state in states.items() if state in FINAL}, now)

    def draw_consequences(self, now: int) -> None:
        """Those that waited for a job that has ended hear of it, and its steps end with it: round by round, for
        these may be ends too."""
        while self.ended:
            ended = {job_id: self.books[job_id].row.state for job_id in self.ended}
            self.ended = []
            for book in self.books.values():
                row = book.row
                if row.after is not None and not ended.keys().isdisjoint(row.after.jobs):
                    self._hear(book, row.after, ended, now)
                if row.job.flow in ended and book.row.state not in FINAL:
                    self.ask_to_end(book, f"its flow {row.job.flow} has ended", now)

    def _hear(self, book: Book, after: After, ended: Mapping[str, State], now: int) -> None:
        """Some of what a blocked job waits for has ended, in these states."""
        left = tuple(one for one in after.jobs if one not in ended)
        fate = consequence(after, {one: ended[one] for one in after.jobs if one in ended}, bool(left))
        if fate is None:
            book.change(after=replace(after, jobs=left))
        else:
            state, reason = fate
            released = first_state(book.row.job, book.row.run_at, now)
            self.enter(book, released if state == "ready" else state, now, reason=reason)

    # the loop

    def running(self) -> list[Book]:
        return [book for book in self.books.values() if book.row.state == "running"]

    def held(self, fence: Fence) -> Book | None:
        """The running job of which the fence is the newest: that one comparison keeps zombies out."""
        book = self.books.get(fence.job_id)
        return book if book is not None and book.row.state == "running" and book.row.token == fence.token else None

    def pass_time(self, now: int) -> list[Row]:
        """Apply what time brings; the rows that expired."""
        expired = []
        for book in self.books.values():
            row = book.row
            if not book.pending:
                continue
            if not row.attempt and row.expires_at is not None and row.expires_at <= now:
                if row.job.default is not None:
                    self.enter(book, "succeeded", now, result=row.job.default)
                else:
                    self.enter(book, "expired", now)
                    expired.append(book.row)
                continue
            if row.priority < HIGH and row.job.promote_at is not None and row.job.promote_at <= now:
                book.change(priority=HIGH)
            if row.state == "scheduled" and row.run_at <= now:
                book.change(state="ready")
        self.draw_consequences(now)
        return expired

    def choose(self, want: Want, now: int) -> list[Book]:
        """The jobs to start, best first."""
        used = Counter[str]()
        for book in self.running():
            used.update(units_of(book.row.job))
        slots, chosen = want.slots, list[Book]()
        ready = [book for book in self.books.values() if book.row.state == "ready" and suits(book.row.job, want)]
        for book in sorted(ready, key=lambda book: (-book.row.priority, book.place)):
            job = book.row.job
            if len(chosen) == want.count or not self._fits(units_of(job), used) or self.held_until(job, now):
                continue
            if job.slots > slots:  # what is free is kept for it, else light jobs would starve it
                break
            slots -= job.slots
            used.update(units_of(job))
            chosen.append(book)
            for name in units_of(job).keys() & self.rates.keys():
                counted = now - self.rates[name].per
                self.starts[name] = [*(at for at in self.starts.get(name, []) if at > counted), now]
        return chosen

    def _fits(self, units: Mapping[str, int], used: Counter[str]) -> bool:
        return all(
            used[name] + count <= self.capacities.get(name, float("inf") if unbounded(name) else 0)
            for name, count in units.items()
        )

    def held_until(self, job: Job, now: int) -> int | None:
        """When the rates let the job start; None: now."""
        names = units_of(job).keys() & self.rates.keys()
        times = [free_at(self.rates[name], self.starts.get(name, []), now) for name in names]
        return max((at for at in times if at is not None), default=None)

    def next_at(self, want: Want, now: int) -> int | None:
        """When time changes something for this executor: see `ostinato.storage.Claimed`."""
        times: list[int | None] = []
        for row in (book.row for book in self.books.values()):
            if row.state == "scheduled":
                times.append(row.run_at)
            elif row.state == "waiting" and not row.attempt:
                times.append(row.expires_at)
            elif row.state == "ready" and suits(row.job, want):
                times.append(self.held_until(row.job, now))
        return min((at for at in times if at is not None), default=None)

    # beside the jobs

    def keep(self, entry: Entry) -> bool:
        """Write it, if nobody has written it since it was read."""
        kept = self.entries.setdefault(entry.kind, {})
        known = kept.get(entry.name)
        if entry.version != (known.version if known else 0):
            return False
        kept.pop(entry.name, None)
        if entry.value is not None:
            kept[entry.name] = replace(entry, version=entry.version + 1)
        self.tell("orders")
        return True


def new_row(job: Job, now: int) -> Row:
    return Row(
        job=job,
        state=first_state(job, job.run_at, now),
        priority=job.priority,
        run_at=job.run_at,
        expires_at=job.expires_at,
        posted_at=now,
    )
