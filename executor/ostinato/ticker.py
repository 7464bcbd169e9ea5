"""Due schedules become jobs.

    the book of schedules ── read when somebody wrote, else now and then ──► ticker thread
         next ticks in memory ── one wait until the first is due ──┘   │ tick: post once, whoever is first
                                                                       ▼
                                                                     store

Every executor does this for all schedules; the store sees to it that a tick posts once. Nobody
leads, so nobody is missed.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Mapping

from msgspec.structs import replace

from ostinato import clock
from ostinato.book import Book, Page, follower_for, job_for, tag_of
from ostinato.errors import StoreError
from ostinato.ids import new_id
from ostinato.keys import Keys
from ostinato.model import SECOND, End, Job, Rise, Row, Schedule, State
from ostinato.options import rising
from ostinato.patience import Patience
from ostinato.rounds import unmet
from ostinato.schedule import admit, missed, next_after
from ostinato.storage import Ask, JobQuery, Store

log = logging.getLogger("ostinato.ticker")

READ = 30.0
"""Seconds after which the schedules are read again though nobody said that they changed."""
LATE = 10 * SECOND
"""With ``catch_up="none"`` a tick is missed when nobody came to it for so long (microseconds)."""
ACTIVE: tuple[State, ...] = ("scheduled", "ready", "blocked", "waiting", "running")


class Ticker:
    """A thread that keeps the schedules of one store."""

    def __init__(self, store: Store, rise: Rise = Rise(), keys: Keys | None = None) -> None:  # noqa: B008 - frozen
        self._store = store
        self._rise = rise
        self._keys = keys or Keys(store)
        self._book = Book(store)
        self._pages: Mapping[str, Page] = {}
        self._done: dict[str, int] = {}
        """How far each schedule has come, as far as is known here."""
        self._next: dict[str, int | None] = {}
        """The tick after that, by schedule."""
        self._read_at = 0.0
        self._changed = threading.Condition()
        self._stale = True
        self._closing = False
        self._patience = Patience("tick")
        self._thread = threading.Thread(target=self._work, name="ostinato-ticker", daemon=True)

    def start(self) -> None:
        """Raises StoreError if the store is not there: who runs jobs must know what follows them."""
        self._refresh()
        self._thread.start()

    def hurry(self) -> None:
        """Somebody may have changed a schedule."""
        with self._changed:
            self._stale = True
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(10)

    def followers(self, row: Row, end: End) -> tuple[Job, ...]:
        """What is to be posted together with this end: the jobs of the schedules that run after it."""
        name = row.job.schedule
        if name is None or end.state != "succeeded":
            return ()
        tick = row.job.tick or 0
        after = [page.schedule for page in self._pages.values() if page.schedule.after == name]
        return tuple(
            rising(follower_for(one, tick, new_id()), clock.now(), self._rise) for one in after if not one.paused
        )

    def unmet(self, row: Row, end: End) -> None:
        """A job of a schedule has ended without success: say which rounds that cancels."""
        for name in unmet(self._pages, replace(row, state=end.state)):
            log.warning("schedule %s: this round is cancelled, since job %s %s", name, row.job.id, end.state)

    def completed(self, row: Row, at: int) -> None:
        """A job of a schedule has succeeded."""
        if row.job.schedule is not None:
            try:
                self._book.completed(row.job.schedule, at)
            except StoreError as error:  # the next one will say it
                log.warning("schedule %s: its success could not be recorded: %s", row.job.schedule, error)

    def last_completed(self, name: str) -> int | None:
        """When a job of the schedule last succeeded. While the store does not tell, what it told before:
        an earlier time makes a job do something again, and leaves nothing out."""
        try:
            return self._book.last_completed(name)
        except StoreError:
            page = self._pages.get(name)
            return None if page is None else page.completed

    # the ticker thread

    def _work(self) -> None:
        while True:
            try:
                pause = self._turn()
                self._patience.worked()
            except StoreError as error:
                pause = self._patience.failed(error)
            except Exception:
                log.exception("the ticker stumbled; it goes on")
                pause = 1.0
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._stale, pause)
                if self._closing:
                    return

    def _turn(self) -> float:
        """Do what is due; how long nothing will be (seconds)."""
        self._refresh()
        now = self._store.now()
        for page in self._pages.values():
            due = self._next[page.schedule.name]
            if due is not None and due <= now:
                self._catch_up(page.schedule, now)
        ticks = [at for at in self._next.values() if at is not None]
        until_tick = (min(ticks) - self._store.now()) / SECOND if ticks else READ
        return max(0.0, min(until_tick, self._read_at - time.monotonic()))

    def _refresh(self) -> None:
        with self._changed:
            stale, self._stale = self._stale, False
        if stale or time.monotonic() >= self._read_at:
            self._pages = self._book.read()
            self._done = {name: _last(page) for name, page in self._pages.items()}
            self._next = {name: self._after(page.schedule) for name, page in self._pages.items()}
            self._read_at = time.monotonic() + READ * random.uniform(0.8, 1.2)  # noqa: S311

    def _after(self, schedule: Schedule) -> int | None:
        return None if schedule.paused else next_after(schedule, self._done[schedule.name])

    def _catch_up(self, schedule: Schedule, now: int) -> None:
        name = schedule.name
        backlog = missed(schedule, self._done[name], now, grace=LATE)
        for tick in backlog.due:
            self._tick(schedule, tick, made_up=len(backlog.due) > 1)
            self._done[name] = tick
        if backlog.skipped:
            log.warning("schedule %s: %d missed ticks are not made up", name, backlog.skipped)
        if not backlog.due:
            self._store.tick(name, now, [])
            self._done[name] = now
        self._next[name] = self._after(schedule)

    def _tick(self, schedule: Schedule, tick: int, made_up: bool) -> None:
        active = [] if schedule.overlap == "allow" else self._active(schedule)
        verdict = admit(schedule, len(active), made_up=made_up)
        jobs = [] if verdict == "skip" else [rising(job_for(schedule, tick, new_id()), self._store.now(), self._rise)]
        self._keys.declare(jobs)
        first = self._store.tick(schedule.name, tick, jobs)
        if first and verdict == "skip":
            log.warning("schedule %s: the run before has not ended, so this one is left out", schedule.name)
        if first and verdict == "replace":
            self._store.change(active, Ask(kind="cancel", reason=f"the next run of schedule {schedule.name} has come"))

    def _active(self, schedule: Schedule) -> list[str]:
        """The runs that have not ended, at most one more than may queue up."""
        query = JobQuery(tag=tag_of(schedule.name), states=ACTIVE, limit=schedule.max_backlog + 1)
        return [row.job.id for row in self._store.find(query).rows]


def _last(page: Page) -> int:
    """The newest tick that was dealt with; a new schedule begins when it was made."""
    return page.schedule.anchor if page.last is None else page.last
