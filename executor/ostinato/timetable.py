"""`ScheduleHandle`: one schedule, seen from the application."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ostinato.book import Book, job_for
from ostinato.errors import ConfigError
from ostinato.model import Job, Schedule, Unique
from ostinato.rounds import Round, newest
from ostinato.schedule import between, preview
from ostinato.storage import Store
from ostinato.units import instant, moment

MOST_BACKFILL = 10_000


class ScheduleStatus(Struct, frozen=True, kw_only=True):
    """A schedule at one moment. ``trigger`` says in words when it runs; ``last`` is its newest tick,
    ``next`` the coming one (None: there is none, or it is paused, or runs after another schedule),
    ``round`` what became of its newest job, or of a round cancelled since then (None: none is known)."""

    name: str
    task: str
    trigger: str
    timezone: str
    catch_up: str
    overlap: str
    paused: bool
    last: datetime | None
    next: datetime | None
    last_completed_at: datetime | None
    round: Round | None


class ScheduleHandle:
    """Knows a schedule's name and asks the store for the rest. Everything raises ConfigError once
    the schedule is removed."""

    __slots__ = ("_book", "_post", "_store", "_written", "name")

    def __init__(self, store: Store, name: str, post: Callable[[Job], Any], written: Callable[[], None]) -> None:
        self.name = name
        self._store = store
        self._book = Book(store)
        self._post = post
        self._written = written

    def __repr__(self) -> str:
        return f"<ScheduleHandle {self.name}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScheduleHandle) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def status(self) -> ScheduleStatus:
        """All that is known of it now."""
        pages = self._book.pages(self.name)
        page = pages[self.name]
        schedule = page.schedule
        coming = [] if schedule.paused else preview(schedule, max(self._store.now(), schedule.anchor), 1)
        return ScheduleStatus(
            name=self.name,
            task=schedule.job.task,
            trigger=_trigger(schedule),
            timezone=schedule.timezone,
            catch_up=schedule.catch_up,
            overlap=schedule.overlap,
            paused=schedule.paused,
            last=_moment(page.last),
            next=moment(coming[0]) if coming else None,
            last_completed_at=_moment(page.completed),
            round=newest(self._store, pages, self.name),
        )

    def next(self, count: int = 5) -> list[datetime]:
        """The coming ticks, as if it were not paused; none if it runs after another schedule."""
        return [moment(at) for at in preview(self._book.page(self.name).schedule, self._store.now(), count)]

    def pause(self) -> None:
        """No more ticks until `resume`, and none of meanwhile are made up."""
        self._book.change(self.name, lambda schedule: replace(schedule, paused=True))
        self._written()

    def resume(self) -> None:
        """Go on from now."""
        page = self._book.page(self.name)
        if page.schedule.paused:
            self._store.tick(self.name, self._store.now(), [])
            self._book.change(self.name, lambda schedule: replace(schedule, paused=False))
            self._written()

    def remove(self) -> None:
        """Forget it; its jobs stay. Refused while another schedule runs after it."""
        self._book.remove(self.name)
        self._written()

    def run(self) -> Any:
        """Post its job now, beside its ticks; the handle of the job."""
        schedule = self._book.page(self.name).schedule
        return self._post(job_for(schedule, self._store.now(), ""))

    def backfill(self, begin: datetime, end: datetime) -> list[Any]:
        """Post the jobs of all ticks from ``begin`` to ``end``, oldest first; one tick is made up once
        only. The handles of the jobs."""
        schedule = self._book.page(self.name).schedule
        return [self._post(self._made_up(schedule, instant(tick, "tick"))) for tick in self.ticks(begin, end)]

    def ticks(self, begin: datetime, end: datetime) -> list[datetime]:
        """All ticks from ``begin`` to ``end``, also those before it was made."""
        schedule, first = self._book.page(self.name).schedule, instant(begin, "begin")
        earlier = -(-(schedule.anchor - first) // schedule.every) if schedule.every and schedule.start_at is None else 0
        anchor = min(schedule.anchor, first - 1) if schedule.every is None else schedule.anchor
        if earlier > 0 and schedule.every:  # the same ticks, counted from earlier on
            anchor -= earlier * schedule.every
        found = between(replace(schedule, anchor=anchor), first - 1, instant(end, "end"), MOST_BACKFILL + 1)
        if len(found) > MOST_BACKFILL:
            raise ConfigError(f"That would be more than {MOST_BACKFILL:,} jobs: give a shorter time.")
        return [moment(at) for at in found]

    def _made_up(self, schedule: Schedule, tick: int) -> Job:
        job = job_for(schedule, tick, "")
        return replace(job, run_at=0, unique=job.unique or Unique(f"schedule:{self.name}@{tick}", period=10.0**9))


def _trigger(schedule: Schedule) -> str:
    if schedule.cron is not None:
        return f"cron {schedule.cron}"
    if schedule.every is not None:
        return f"every {schedule.every / 1e6:g} s"
    return f"after {schedule.after}"


def _moment(at: int | None) -> datetime | None:
    return None if at is None else moment(at)
