"""The store: every verb opens the shelf, changes it, and puts it back, while nobody else can."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec
from msgspec.structs import replace

from ostinato.errors import StoreUnavailable
from ostinato.model import FINAL, SECOND, WAITING, After, Attempt, Channel, End, ExecutorInfo, Fence, Job, Row, State
from ostinato.rules import first_state, way_out
from ostinato.storage import (
    NO_RATES,
    Ask,
    Changed,
    Claimed,
    Count,
    Entry,
    JobQuery,
    Note,
    Page,
    Posted,
    Rate,
    Record,
    Renewal,
    Rescue,
    Want,
)
from ostinato_shelf.shelf import Book, Shelf

DAY = 24 * 3600 * SECOND
LOOK = 0.02


class ShelfStore:
    durable = "a crash of the process and of the machine: the whole file is synced before it takes the place of the old"

    def __init__(self, path: str, clock: Callable[[], int]) -> None:
        self._path = path
        self.now = clock
        self._mutex = threading.Lock()
        self._listeners: list[ShelfListener] = []
        self._open = False

    def open(self) -> None:
        self._open = True
        with self._shelf():
            pass

    def close(self) -> None:
        self._open = False
        for listener in list(self._listeners):
            listener.close()

    @contextmanager
    def _shelf(self) -> Iterator[Shelf]:
        """The shelf, for this thread of this process alone. What was done to it is kept if nothing is raised."""
        if not self._open:
            raise StoreUnavailable(f"The shelf {self._path} is not open. Call open() first.")
        with self._mutex:
            try:
                lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            except OSError as error:
                raise StoreUnavailable(f"Cannot use the shelf {self._path}: {error}") from None
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                shelf, before = self._read()
                yield shelf
                shelf.draw_consequences(self.now())
                after = msgspec.json.encode(shelf)
                if after != before:
                    self._write(after)
            finally:
                os.close(lock)

    def _read(self) -> tuple[Shelf, bytes]:
        try:
            with open(self._path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return Shelf(), b""
        return msgspec.json.decode(data, type=Shelf), data

    def _write(self, data: bytes) -> None:
        try:
            with open(f"{self._path}.new", "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(f"{self._path}.new", self._path)
        except OSError as error:
            raise StoreUnavailable(f"Cannot write the shelf {self._path}: {error}; nothing was stored.") from None

    # in

    def post(self, jobs: Sequence[Job]) -> list[Posted]:
        with self._shelf() as shelf:
            return shelf.post(jobs, self.now())

    def load(self, records: Sequence[Record]) -> list[bool]:
        with self._shelf() as shelf:
            answers = []
            for record in records:
                answers.append(record.row.job.id not in shelf.books)
                if answers[-1]:
                    shelf.add(record, self.now())
            return answers

    def tick(self, schedule: str, due: int, jobs: Sequence[Job]) -> bool:
        with self._shelf() as shelf:
            known = shelf.ticks.get(schedule)
            if known is not None and known >= due:
                return False
            shelf.ticks[schedule] = due
            shelf.post(jobs, self.now())
            return True

    def ticks(self) -> dict[str, int]:
        with self._shelf() as shelf:
            return dict(shelf.ticks)

    def limit(self, capacities: Mapping[str, int | None], rates: Mapping[str, Rate | None] = NO_RATES) -> None:
        with self._shelf() as shelf:
            for name, capacity in capacities.items():
                shelf.capacities.pop(name, None)
                if capacity is not None:
                    shelf.capacities[name] = capacity
            for name, rate in rates.items():
                shelf.rates.pop(name, None)
                if rate is not None:
                    shelf.rates[name] = rate
                else:
                    shelf.starts.pop(name, None)
            shelf.tell("ready")

    def rates(self) -> dict[str, Rate]:
        with self._shelf() as shelf:
            return dict(shelf.rates)

    def keep(self, entries: Sequence[Entry]) -> list[bool]:
        with self._shelf() as shelf:
            return [shelf.keep(entry) for entry in entries]

    def entries(self, kind: str) -> list[Entry]:
        with self._shelf() as shelf:
            return sorted(shelf.entries.get(kind, {}).values(), key=lambda entry: entry.name)

    def limits(self) -> dict[str, int]:
        with self._shelf() as shelf:
            return dict(shelf.capacities)

    # the loop

    def claim(self, executor_id: str, want: Want) -> Claimed:
        with self._shelf() as shelf:
            now = self.now()
            expired = shelf.pass_time(now)
            chosen = shelf.choose(want, now)
            for book in chosen:
                row = book.row
                lease = {"executor_id": executor_id, "lease_until": now + want.lease, "started_at": now}
                book.change(state="running", attempt=row.attempt + 1, token=row.token + 1, **lease)
            rows = [book.row for book in chosen]
            return Claimed(rows=rows, now=now, next_at=shelf.next_at(want, now), expired=expired)

    def renew(self, executor: ExecutorInfo, fences: Sequence[Fence], lease: int) -> Renewal:
        with self._shelf() as shelf:
            now = self.now()
            held = [book for fence in fences if (book := shelf.held(fence)) is not None]
            for book in held if lease else ():
                book.change(lease_until=now + lease)
            known = shelf.executors.pop(executor.id, None)
            if lease:
                shelf.executors[executor.id] = replace(executor, seen_at=now, lease_until=now + lease)
                if known is None:
                    shelf.tell("orders")  # the others want to know whom to look after
            return Renewal(
                now=now,
                lost=[fence for fence in fences if shelf.held(fence) is None],
                cancelling=[book.row.fence for book in held if book.row.cancelling],
                peers=[one for one in shelf.executors.values() if one.id != executor.id and one.lease_until > now],
            )

    def note(self, notes: Sequence[Note]) -> list[bool]:
        with self._shelf() as shelf:
            return [_note(shelf, note) for note in notes]

    def finish(self, ends: Sequence[tuple[Fence, End]]) -> list[bool]:
        with self._shelf() as shelf:
            return [_finish(shelf, fence, end, self.now()) for fence, end in ends]

    def rescue(self, executor_id: str, want: Rescue) -> list[Row]:
        with self._shelf() as shelf:
            now, rows = self.now(), []
            for book in shelf.running():
                former = book.row.executor_id
                if len(rows) < want.count and (former in want.dead or (book.row.lease_until or 0) <= now):
                    book.change(token=book.row.token + 1, executor_id=executor_id, lease_until=now + want.lease)
                    rows.append(replace(book.row, executor_id=former))
            return rows

    # from outside

    def change(self, ids: Sequence[str], ask: Ask) -> list[Changed]:
        with self._shelf() as shelf:
            return [_change(shelf, job_id, ask, self.now()) for job_id in ids]

    def find(self, query: JobQuery) -> Page:
        with self._shelf() as shelf:
            found = [book for book in shelf.books.values() if _matches(book, query)]
            found.sort(key=lambda book: book.sequence, reverse=not query.oldest_first)
            page = found[: query.limit]
            more = len(found) > len(page) and page
            return Page([book.row for book in page], str(page[-1].sequence) if more else None)

    def attempts(self, job_ids: Sequence[str]) -> list[Attempt]:
        with self._shelf() as shelf:
            books = [shelf.books[job_id] for job_id in dict.fromkeys(job_ids) if job_id in shelf.books]
            return [one for book in books for one in sorted(book.ends.values(), key=lambda one: one.number)]

    def executors(self) -> list[ExecutorInfo]:
        with self._shelf() as shelf:
            owners = {book.row.executor_id for book in shelf.running()}
            now = self.now()
            return [one for one in shelf.executors.values() if one.id in owners or one.lease_until + DAY >= now]

    def count(self) -> list[Count]:
        with self._shelf() as shelf:
            rows = [book.row for book in shelf.books.values()]
        kinds = Counter((row.job.queue, row.job.task, row.job.version, row.job.slots, row.state) for row in rows)
        return [
            Count(queue, task, state, jobs, version, slots)
            for (queue, task, version, slots, state), jobs in sorted(kinds.items())
        ]

    # waking

    def listen(self, channels: frozenset[Channel]) -> ShelfListener:
        listener = ShelfListener(channels, self._news, self._listeners)
        self._listeners.append(listener)
        return listener

    def _news(self) -> dict[Channel, int]:
        return self._read()[0].news


def _note(shelf: Shelf, note: Note) -> bool:
    if note.key == "log":
        book = shelf.books.get(note.job_id)
        for token, attempt in book.ends.items() if book else ():
            if book and attempt.number == note.attempt:
                book.ends[token] = replace(attempt, log=note.value)
                return True
        return False
    held = shelf.held(Fence(note.job_id, note.token))
    if held is not None and note.key == "step":
        held.change(steps={note.name: note.value, **held.row.steps})  # the first one stays
    elif held is not None:
        held.change(**{note.key: note.value})
    return held is not None


def _finish(shelf: Shelf, fence: Fence, end: End, now: int) -> bool:
    book = shelf.held(fence)
    if book is None:
        known = shelf.books.get(fence.job_id)
        return known is not None and fence.token in known.ends
    state, reason = way_out(end, book.row.cancelling, book.row.reason)
    book.ends[fence.token] = end.attempt
    shelf.enter(
        book,
        state,
        now,
        reason=reason,
        priority=end.priority,
        run_at=end.run_at,
        charged=end.charged,
        deaths=end.deaths,
        result=end.result,
        error=end.error,
    )
    if state == end.state:
        shelf.post(end.posts, now)
    if state == "blocked":
        shelf.wait_for(book, end.after or After(()), now)
    shelf.tell("ready")  # what it held is free
    return True


def _change(shelf: Shelf, job_id: str, ask: Ask, now: int) -> Changed:
    book = shelf.books.get(job_id)
    if book is None:
        return Changed(job_id, None, None)
    before = book.row.state
    _ASKS[ask.kind](shelf, book, ask, now)
    shelf.draw_consequences(now)
    return Changed(job_id, before, book.row.state if job_id in shelf.books else None)


def _cancel(shelf: Shelf, book: Book, ask: Ask, now: int) -> None:
    if book.row.state not in FINAL:
        shelf.ask_to_end(book, ask.reason, now)


def _answer(shelf: Shelf, book: Book, ask: Ask, now: int) -> None:
    if book.row.state == "waiting" and book.row.job.kind in WAITING:
        state: State = "succeeded" if ask.error is None else "failed"
        shelf.enter(book, state, now, result=ask.result, error=ask.error, reason=ask.reason)


def _forget(shelf: Shelf, book: Book, ask: Ask, now: int) -> None:
    flow = shelf.books.get(book.row.job.flow or "")
    if book.row.state in FINAL and (flow is None or flow.row.state in FINAL):
        del shelf.books[book.row.job.id]


def _rerun(shelf: Shelf, book: Book, ask: Ask, now: int) -> None:
    job = book.row.job
    parked = book.row.state == "waiting" and job.kind not in WAITING
    if not parked and book.row.state not in FINAL:
        return
    if job.unique is not None:
        if shelf.holder(job.unique.key, now) not in (None, book):
            return
        shelf.holders[job.unique.key] = job.id
    expires_at = None if job.default is None else book.row.expires_at
    fresh = {"charged": 0, "deaths": 0, "run_at": 0, "expires_at": expires_at, "result": None, "error": None}
    shelf.enter(book, first_state(job, 0, now), now, priority=job.priority, reason=ask.reason, **fresh)


_ASKS = {"cancel": _cancel, "rerun": _rerun, "forget": _forget, "answer": _answer}


def _matches(book: Book, query: JobQuery) -> bool:
    row, job = book.row, book.row.job
    after = None if query.cursor is None else int(query.cursor)
    return (
        (after is None or (book.sequence > after if query.oldest_first else book.sequence < after))
        and (query.ids is None or job.id in query.ids)
        and (not query.states or row.state in query.states)
        and (not query.tasks or job.task in query.tasks)
        and (not query.queues or job.queue in query.queues)
        and (query.tag is None or query.tag in job.tags)
        and (query.flow is None or query.flow == job.flow)
        and (query.executor_id is None or row.executor_id == query.executor_id)
        and (query.ended_before is None or (row.ended_at is not None and row.ended_at < query.ended_before))
    )


class ShelfListener:
    """Looks at the counters in the file now and then: simple, and correct. A real backend is told."""

    def __init__(
        self, channels: frozenset[Channel], news: Callable[[], dict[Channel, int]], others: list[ShelfListener]
    ) -> None:
        self._channels, self._news, self._others = channels, news, others
        self._heard = news()
        self._woken = threading.Event()
        self._closed = False

    def wait(self, timeout: float) -> frozenset[Channel]:
        until = time.monotonic() + timeout
        while True:
            news = self._news()
            heard = frozenset(one for one in self._channels if news.get(one) != self._heard.get(one))
            self._heard = news
            left = until - time.monotonic()
            if heard or self._closed or left <= 0 or self._woken.wait(min(LOOK, left)):
                self._woken.clear()
                return heard

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        self._closed = True
        if self in self._others:
            self._others.remove(self)
        self._woken.set()
