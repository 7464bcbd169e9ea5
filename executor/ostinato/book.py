"""The book of schedules: their definitions and how far they have come, as the store keeps them.

A definition is an entry of the store, so that all executors see the same; how far a schedule has
come is its newest tick, which the store records in the same step as it posts the tick's job.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ostinato.errors import ConfigError
from ostinato.model import Job, Schedule, Unique
from ostinato.schedule import check_chain, job_of
from ostinato.storage import Entry, Store

KIND = "schedule"
_DONE = "done "
"""Before a schedule's name: how far its own successes have come. No schedule's name has a blank."""


def tag_of(name: str) -> str:
    """Every job of a schedule has this tag."""
    return f"schedule:{name}"


class Page(Struct, frozen=True):
    """One schedule as it is kept. ``last`` is its newest tick, ``completed`` when a job of it last
    succeeded, both None at first."""

    schedule: Schedule
    version: int
    last: int | None = None
    completed: int | None = None


class Book:
    """Reads and writes schedules in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self) -> dict[str, Page]:
        """All schedules by name."""
        ticks = self._store.ticks()
        pages = {}
        for entry in self._store.entries(KIND):
            schedule = msgspec.json.decode(entry.value or "", type=Schedule)
            pages[entry.name] = Page(schedule, entry.version, ticks.get(entry.name), ticks.get(_DONE + entry.name))
        return pages

    def add(self, schedule: Schedule, *, replacing: bool) -> None:
        """Keep it; the same again is no change. Raises ConfigError if another one has its name."""
        while True:
            pages = self.read()
            check_chain(schedule, {name: page.schedule for name, page in pages.items()})
            known = pages.get(schedule.name)
            if known is not None:
                kept = replace(schedule, anchor=known.schedule.anchor, paused=known.schedule.paused)
                if kept == known.schedule:
                    return
                if not replacing:
                    raise ConfigError(
                        f"There is another schedule {schedule.name!r} already. Give this one another name, or "
                        "replace=True if it is to take its place."
                    )
                schedule = kept
            if self._write(schedule, known.version if known else 0):
                self._store.limit({tag_of(schedule.name): None if schedule.overlap == "allow" else 1})
                return

    def change(self, name: str, change: Callable[[Schedule], Schedule]) -> Page:
        """Change a definition, whoever else does so meanwhile. Raises ConfigError for an unknown name."""
        while True:
            page = self.page(name)
            if self._write(change(page.schedule), page.version):
                return page

    def page(self, name: str) -> Page:
        """Raises ConfigError for an unknown name."""
        return self.pages(name)[name]

    def pages(self, name: str) -> dict[str, Page]:
        """All, this one among them. Raises ConfigError for an unknown name."""
        pages = self.read()
        if name not in pages:
            from ostinato.names import suggest

            known = suggest(name, pages) if pages else "There are none yet."
            raise ConfigError(f"There is no schedule {name!r}. {known}")
        return pages

    def remove(self, name: str) -> None:
        """Its jobs stay. Raises ConfigError for an unknown name, or if another one runs after it."""
        while True:
            pages = self.read()
            followers = [one for one, page in pages.items() if page.schedule.after == name]
            if followers:
                raise ConfigError(f"The schedule {name!r} cannot be removed: {', '.join(followers)} runs after it.")
            if self._store.keep([Entry(KIND, name, None, self.page(name).version)])[0]:
                return

    def _write(self, schedule: Schedule, version: int) -> bool:
        value = msgspec.json.encode(schedule).decode()
        return self._store.keep([Entry(KIND, schedule.name, value, version)])[0]

    def completed(self, name: str, at: int) -> None:
        """A job of the schedule has succeeded at this time (microseconds)."""
        self._store.tick(_DONE + name, at, [])

    def last_completed(self, name: str) -> int | None:
        return self._store.ticks().get(_DONE + name)


def job_for(schedule: Schedule, tick: int, job_id: str) -> Job:
    """The job of a tick. Unless its runs may overlap it holds the schedule, which one at a time can."""
    job = job_of(schedule, tick)
    holds = job.holds if schedule.overlap == "allow" else (*job.holds, (tag_of(schedule.name), 1))
    return replace(job, id=job_id, tags=(*job.tags, tag_of(schedule.name)), holds=holds)


def follower_for(schedule: Schedule, tick: int, job_id: str) -> Job:
    """The job of a schedule that runs after another one's success. It is posted with that success, so
    that whether the previous one has ended is for the store to say: by a unique key."""
    job = job_for(schedule, tick, job_id)
    if schedule.overlap == "skip" and job.unique is None:
        return replace(job, unique=Unique(tag_of(schedule.name)))
    return job
