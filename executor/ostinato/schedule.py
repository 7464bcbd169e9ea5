"""The pure rules of schedules: when they tick, what becomes of missed ticks, and of runs that overlap.

    Schedule ─┬─ next_after, between, preview ──► ticks: cron, or every; a chain (after) has none of its own
              ├─ missed(last, now) ─────────────► Backlog: which ticks to run now, oldest first, and how many not
              ├─ admit(active) ─────────────────► post, queue, skip or replace
              └─ job_of(tick) ──────────────────► the Job to post, which knows its tick

No I/O, no clock and no memory: the same schedule and times give the same answers on every executor, and a
tick is a point in time that they all compute alike. What summer time does to cron is written in `ostinato.cron`.
All times are integers, microseconds since 1970 UTC; all durations are microseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from hashlib import blake2b
from itertools import islice
from typing import Literal, NamedTuple, ParamSpec, TypeVar, get_args

import msgspec

from ostinato.cron import cron_ticks, parse
from ostinato.errors import ConfigError
from ostinato.model import SECOND, CatchUp, Job, Overlap, Schedule
from ostinato.names import check_name, suggest
from ostinato.units import Duration, instant, micros
from ostinato.zones import LAST_YEAR, find_zone

MOST_BACKLOG = 100_000
_NEVER = (LAST_YEAR - 1970) * 365 * 86_400 * SECOND
_P = ParamSpec("_P")
_T = TypeVar("_T")

Verdict = Literal["post", "queue", "skip", "replace"]


class Backlog(NamedTuple):
    """``due``: the ticks to run now, oldest first. ``skipped``: how many others there were, which are not made up."""

    due: list[int]
    skipped: int


# making one


def define(
    name: str,
    job: Job,
    *,
    cron: str | None = None,
    every: Duration | None = None,
    after: str | None = None,
    timezone: str | None = None,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
    jitter: Duration | None = None,
    catch_up: CatchUp = "latest",
    max_backlog: int = 1000,
    overlap: Overlap = "skip",
    anchor: int = 0,
) -> Schedule:
    """A checked schedule. Give one of ``cron``, ``every`` and ``after``.

    ``start_at`` and ``end_at`` are aware datetimes and both belong to the schedule. ``anchor`` is from when an
    interval without ``start_at`` counts, in microseconds: the time the schedule was made, or 0 for round times in UTC.

    Raises ConfigError, which names all that is wrong.
    """
    wrong: list[str] = []

    def sure(default: _T, check: Callable[_P, _T], *args: _P.args, **named: _P.kwargs) -> _T:
        try:
            return check(*args, **named)
        except ConfigError as error:
            wrong.append(str(error))
            return default

    made = Schedule(
        name=sure("", check_name, "schedule", name),
        job=job,
        cron=None if cron is None else sure(cron, lambda: parse(cron) and cron),
        every=None if every is None else sure(_NEVER, micros, every, "every"),
        after=None if after is None else sure("", check_name, "schedule", after),
        timezone="UTC" if timezone is None else sure("UTC", lambda: find_zone(timezone).key),
        start_at=None if start_at is None else sure(None, instant, start_at, "start_at"),
        end_at=None if end_at is None else sure(None, instant, end_at, "end_at"),
        anchor=anchor,
        jitter=0 if jitter is None else sure(0, micros, jitter, "jitter"),
        catch_up=catch_up,
        max_backlog=max_backlog,
        overlap=overlap,
    )
    wrong += _trigger_faults(made)
    wrong += _policy_faults(made)
    if timezone is not None and cron is None:
        wrong.append(f"timezone={timezone!r} has no meaning without cron.")
    if not wrong and after is None and next_after(made, _first(made) - 1) is None:
        wrong.append("It has no tick between its start and its end, so it would never run.")
    if wrong:
        raise ConfigError(f"The schedule {name!r} is refused: " + " ".join(wrong))
    return made


def _trigger_faults(made: Schedule) -> Iterator[str]:
    given = [word for word in ("cron", "every", "after") if getattr(made, word) is not None]
    if len(given) != 1:
        told = " and ".join(given) if given else "nothing that triggers it"
        yield f'It has {told}. Give one of cron="0 3 * * *", every="10m" and after="another-schedule".'
    if made.every is not None and made.every < SECOND:
        yield "every= is below one second: give more, or let one job do many rounds."
    elif made.every is not None and made.jitter >= made.every:
        yield "jitter= is not shorter than every=, so that a tick could come after the next one."
    if made.after and made.after == made.name:
        yield "It is to run after itself. For a job that repeats give every= or cron=."
    if made.after is not None and (made.start_at, made.end_at) != (None, None):
        yield "start_at and end_at have no meaning with after: its predecessor says when it runs."
    if made.start_at is not None and made.start_at < 0:
        yield "start_at lies before 1970."
    if made.start_at is not None and made.end_at is not None and made.end_at < made.start_at:
        yield "end_at comes before start_at, so it would never run."


def _policy_faults(made: Schedule) -> Iterator[str]:
    if not isinstance(made.job, Job):
        yield f"{made.job!r} is no job: give mytask.job(...), Job.script(...) or Job.command(...)."
    if made.catch_up not in get_args(CatchUp):
        yield f"catch_up={made.catch_up!r} is not known. {suggest(str(made.catch_up), get_args(CatchUp))}"
    if made.overlap not in get_args(Overlap):
        yield f"overlap={made.overlap!r} is not known. {suggest(str(made.overlap), get_args(Overlap))}"
    most: object = made.max_backlog
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= MOST_BACKLOG:
        yield f"max_backlog={most!r}: give a whole number from 1 to {MOST_BACKLOG}."


def check_chain(schedule: Schedule, others: Mapping[str, Schedule]) -> None:
    """Refuse a schedule that runs ``after`` an unknown one, or after itself by way of others. Raises ConfigError."""
    path, following = [schedule.name], schedule
    while following.after is not None:
        if following.after in path:
            told = " after ".join(map(repr, [*path, following.after]))
            raise ConfigError(f"The schedules wait for each other: {told}. Give one of them cron= or every=.")
        if following.after not in others:
            known = suggest(following.after, others) if others else "There are no others."
            raise ConfigError(
                f"The schedule {following.name!r} runs after {following.after!r}, which is not there. {known}"
            )
        path.append(following.after)
        following = others[following.after]


# ticks


def next_after(schedule: Schedule, at: int) -> int | None:
    """The first tick after ``at``; None if there is none any more, or if the schedule is a chain."""
    return next(iter(_ticks(schedule, at)), None)


def between(schedule: Schedule, after: int, until: int, limit: int | None = None) -> list[int]:
    """The ticks ``after < tick <= until``, oldest first; the first ``limit`` of them."""
    return list(islice(_ticks(schedule, after, until), limit))


def preview(schedule: Schedule, at: int, count: int = 10) -> list[int]:
    """The next ``count`` ticks after ``at``, or as many as there are."""
    return list(islice(_ticks(schedule, at), count))


def _ticks(schedule: Schedule, after: int, until: int | None = None) -> Iterable[int]:
    """All ticks ``after < tick <= until`` in order. Whether the schedule is paused does not alter them."""
    after = max(after, _first(schedule) - 1)
    until = min((at for at in (until, schedule.end_at) if at is not None), default=None)
    if schedule.every is not None:
        start = schedule.anchor if schedule.start_at is None else schedule.start_at
        coming = start + ((after - start) // schedule.every + 1) * schedule.every
        return range(coming, _NEVER if until is None else until + 1, schedule.every)
    if schedule.cron is not None:
        zone, last = find_zone(schedule.timezone), None if until is None else until // SECOND
        return (tick * SECOND for tick in cron_ticks(parse(schedule.cron), zone, after // SECOND, last))
    return ()


def _first(schedule: Schedule) -> int:
    """No tick comes before."""
    return schedule.anchor if schedule.start_at is None else schedule.start_at


# missed ticks


def missed(schedule: Schedule, last: int, now: int, *, grace: int = 0) -> Backlog:
    """What to do at ``now`` about the ticks since ``last``, the newest one that was dealt with.

    ``all``: run the newest ``max_backlog`` of them. ``latest``: the newest one. ``none``: only those that are not
    missed, since they came due at most ``grace`` ago. A paused schedule runs none, and does not make them up later
    if its caller goes on from ``now``.
    """
    ticks = _ticks(schedule, last, now)
    most = {"all": schedule.max_backlog, "latest": 1, "none": schedule.max_backlog}[schedule.catch_up]
    newest, count = _newest(ticks, 0 if schedule.paused else most)
    due = [tick for tick in newest if schedule.catch_up != "none" or tick >= now - grace]
    return Backlog(due, count - len(due))


def _newest(ticks: Iterable[int], most: int) -> tuple[list[int], int]:
    """The last ``most`` and the number of all."""
    if isinstance(ticks, range):  # counts years of seconds without walking through them
        return list(ticks[max(0, len(ticks) - most) :]), len(ticks)
    count = 0
    newest: deque[int] = deque(maxlen=most)
    for tick in ticks:
        newest.append(tick)
        count += 1
    return list(newest), count


# runs that overlap


def admit(schedule: Schedule, active: int, *, made_up: bool = False) -> Verdict:
    """What becomes of a tick while ``active`` earlier runs of the schedule have not ended.

    ``post`` it; ``skip`` it; ``queue``: post it to run when the earlier ones have ended; ``replace``: cancel
    the earlier ones and post it. ``made_up`` says that the tick is one of several of a `Backlog`: under
    ``catch_up="all"`` each of these runs, one after the other unless ``overlap="allow"``. At most ``max_backlog``
    runs queue up behind the active one; the next is skipped.
    """
    if active == 0 or schedule.overlap == "allow":
        return "post"
    if schedule.overlap == "queue" or (made_up and schedule.catch_up == "all"):
        return "queue" if active <= schedule.max_backlog else "skip"
    return "replace" if schedule.overlap == "cancel_previous" else "skip"


# the job of a tick


def delay(schedule: Schedule, tick: int) -> int:
    """How long after its tick the job runs: from 0 to ``jitter``, the same on every executor."""
    if not schedule.jitter:
        return 0
    drawn = blake2b(f"{schedule.name}\0{tick}".encode(), digest_size=8).digest()
    return int.from_bytes(drawn, "big") % (schedule.jitter + 1)


def job_of(schedule: Schedule, tick: int) -> Job:
    """The job to post for a tick: it knows its schedule and tick, and waits for its jitter."""
    late = delay(schedule, tick)
    run_at = tick + late if late else schedule.job.run_at
    return msgspec.structs.replace(schedule.job, id="", schedule=schedule.name, tick=tick, run_at=run_at)
