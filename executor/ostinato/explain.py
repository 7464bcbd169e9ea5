"""Why a job is where it is: every reason, with the names of what is waited for, and what would help.

`explain` is pure; `look` asks the store for what it needs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from ostinato import host
from ostinato.book import Book
from ostinato.capacities import Paused, pauses, running
from ostinato.model import FINAL, SECOND, ExecutorInfo, Job, Row, State
from ostinato.rounds import unmet
from ostinato.rules import unbounded, units_of
from ostinato.storage import JobQuery, Rate, Store, TellsPaces
from ostinato.stranded import missing
from ostinato.units import moment

Kind = Literal[
    "ended",  # nothing more will happen by itself
    "round",  # it has not succeeded, so the schedules after its own leave out this round
    "running",  # it has begun
    "waiting",  # for other jobs
    "time",  # its time has not come
    "paused",  # its queue or task is
    "concurrency",  # as many of its queue, task or key run as may
    "rate",  # as many have started as may
    "resource",  # held by others, too small, undeclared or out of service
    "executor",  # no living one can ever run it
    "draining",  # those that could are stopping
    "overloaded",  # their machines are, for now
    "slots",  # they are busy
    "heavy",  # a job that needs more slots than are free is waiting for them
    "line",  # others come first
    "none",  # it should start at once
]
LOOK = 200
"""So many of the oldest ready jobs are looked at to see who comes first."""
SHOWN = 5


class Reason(Struct, frozen=True):
    """One thing that the job waits for. ``names`` are those of the jobs, executors or things in the
    way, ``help`` is what would help, "" if nothing needs to be done."""

    kind: Kind
    text: str
    help: str = ""
    names: tuple[str, ...] = ()


class Explanation(Struct, frozen=True):
    """All reasons why a job is where it is; ``str()`` tells them line by line."""

    job_id: str
    task: str
    state: State
    reasons: tuple[Reason, ...]

    def __str__(self) -> str:
        lines = [f"Job {self.job_id} ({self.task}) is {self.state}:"]
        lines += [f"- {one.text}{f' → {one.help}' if one.help else ''}" for one in self.reasons]
        return "\n".join(lines)


class Situation(Struct, frozen=True, kw_only=True):
    """A job, and all that decides whether it can start. ``paces`` are the used-up rates and when they let
    the next job start (None: the store cannot tell), ``executors`` are those that live, ``ready`` the
    oldest ready jobs in post order, ``more`` whether there are others, ``unmet`` the schedules that leave
    out a round because of it."""

    now: int
    row: Row
    limits: Mapping[str, int] = {}
    rates: Mapping[str, Rate] = {}
    paces: Mapping[str, int] | None = None
    paused: Mapping[str, Paused] = {}
    running: Sequence[Row] = ()
    executors: Sequence[ExecutorInfo] = ()
    ready: Sequence[Row] = ()
    more: bool = False
    unmet: Sequence[str] = ()


def look(store: Store, row: Row) -> Situation:
    """What `explain` needs to know about a job, as the store has it now."""
    now = store.now()
    if row.state in FINAL or row.state == "running":
        return Situation(now=now, row=row, unmet=unmet(Book(store).read(), row) if row.job.schedule else ())
    page = store.find(JobQuery(states=("ready",), oldest_first=True, limit=LOOK)) if row.state == "ready" else None
    return Situation(
        now=now,
        row=row,
        limits=store.limits(),
        rates=store.rates(),
        paces=store.paces() if isinstance(store, TellsPaces) else None,
        paused=pauses(store),
        running=running(store),
        executors=[one for one in store.executors() if one.lease_until > now and not host.is_dead(one)],
        ready=page.rows if page else (),
        more=page is not None and page.next is not None,
    )


def explain(seen: Situation) -> Explanation:
    """All reasons why the job does not start now; if there is none, that it should."""
    row = seen.row
    if row.state in FINAL:
        reasons = [_ended(row), *_unmet(seen)]
    elif row.state == "running":
        reasons = [_running(row, seen.now)]
    else:
        reasons = [*_waits(row), *_time(seen), *_holds(seen), *_rates(seen), *_executors(seen)]
    nothing = Reason("none", "nothing stands in its way: it should start at once")
    return Explanation(row.job.id, row.job.task, row.state, tuple(reasons or [nothing]))


def _ended(row: Row) -> Reason:
    why = f": {row.reason}" if row.reason else ""
    at = f" at {_at(row.ended_at)}" if row.ended_at else ""
    return Reason("ended", f"it has ended{at}{why}", f"ostinato rerun {row.job.id}")


def _unmet(seen: Situation) -> Iterator[Reason]:
    if seen.unmet:
        text = f"the schedules that run after its success leave out this round: {_jobs(seen.unmet)}"
        yield Reason("round", text, "", tuple(seen.unmet))


def _running(row: Row, now: int) -> Reason:
    since = "" if row.started_at is None else f" for {_span(now - row.started_at)}"
    stopping = ", and is being cancelled" if row.cancelling else ""
    owner = row.executor_id or ""
    text = f"it runs{since} on executor {owner}, attempt {row.attempt}{stopping}"
    return Reason("running", text, f"ostinato logs -f {row.job.id}", (owner,))


def _waits(row: Row) -> Iterator[Reason]:
    if row.state in ("blocked", "waiting"):
        yield Reason("waiting", f"it waits for other jobs{f': {row.reason}' if row.reason else ''}")


def _time(seen: Situation) -> Iterator[Reason]:
    row = seen.row
    if row.state == "scheduled":
        again = f", for attempt {row.attempt + 1} ({row.reason})" if row.attempt and row.reason else ""
        yield Reason("time", f"it is not due before {_until(row.run_at, seen.now)}{again}")


# capacities


def _holds(seen: Situation) -> Iterator[Reason]:
    used: dict[str, dict[str, int]] = defaultdict(dict)
    for row in seen.running:
        for name, units in units_of(row.job).items():
            used[name][row.job.id] = units
    for name, units in units_of(seen.row.job).items():
        if name in seen.paused:
            yield _paused(name, seen.paused[name])
        elif unbounded(name):
            if name in seen.limits and sum(used[name].values()) + units > seen.limits[name]:
                yield _full(name, seen.limits[name], used[name])
        elif name not in seen.limits or units > seen.limits[name]:
            yield _too_small(name, units, seen.limits.get(name))
        elif sum(used[name].values()) + units > seen.limits[name]:
            yield _held(name, units, seen.limits[name], used[name])


def _paused(name: str, stop: Paused) -> Reason:
    kind, label = _label(name)
    since = f"since {_at(stop.at)}, by {stop.by}"
    if kind == "resource":
        text = f'resource "{label}" is out of service {since}'
        return Reason("resource", text, f"ostinato resources back {label}", (label,))
    return Reason("paused", f'{kind} "{label}" is paused {since}', f"ostinato queues resume {_option(name)}", (label,))


def _full(name: str, limit: int, holders: Mapping[str, int]) -> Reason:
    kind, label = _label(name)
    if limit == 0:
        text = f'{kind} "{label}" is limited to 0 jobs at a time, so that none starts'
    else:
        text = f'{kind} "{label}" is limited to {limit} at a time, and {_jobs(holders)} run'
    return Reason("concurrency", text, f"ostinato queues limit {_option(name)} --concurrency N", tuple(holders))


def _too_small(name: str, units: int, there: int | None) -> Reason:
    _, label = _label(name)
    if there is None:
        text = f'it needs {units} of resource "{label}", which nobody has declared'
    else:
        text = f'it needs {units} of resource "{label}", which has {there} in all'
    return Reason("resource", text, f"ostinato resources set {label} {units}", (label,))


def _held(name: str, units: int, there: int, holders: Mapping[str, int]) -> Reason:
    _, label = _label(name)
    free = max(0, there - sum(holders.values()))
    text = f'it needs {units} of resource "{label}", of which {free} of {there} are free: {_jobs(holders)} hold it'
    return Reason("resource", text, "it comes free when they end", tuple(holders))


def _rates(seen: Situation) -> Iterator[Reason]:
    for name in units_of(seen.row.job):
        rate = seen.rates.get(name)
        if rate is None or (seen.paces is not None and name not in seen.paces):
            continue
        kind, label = _label(name)
        text = f'{kind} "{label}" may start {rate.count} jobs in {_span(rate.per)}'
        if seen.paces is None:
            text += ", which may hold it back (this store cannot tell)"
        else:
            text += f", and has; the next may start at {_until(seen.paces[name], seen.now)}"
        yield Reason("rate", text, f"ostinato queues limit {_option(name)} --rate N/TIME", (label,))


# executors


class Place(Struct, frozen=True):
    """What an executor has for the job: ``left`` slots once those before it in line have begun, or
    ``heavy``, the job for which the free ones are kept."""

    executor: ExecutorInfo
    free: int
    left: int
    heavy: str | None


def _executors(seen: Situation) -> Iterator[Reason]:
    job = seen.row.job
    why, _, hint = missing(job.task, job.queue, job.version, job.slots, seen.executors).partition(" → ")
    if why:
        yield Reason("executor", why, hint)
        return
    able = [one for one in seen.executors if _suits(one, job)]
    willing = [one for one in able if not (one.draining or one.overloaded)]
    if not willing:
        yield from _unwilling(able)
    elif seen.row.state == "ready":
        yield from _places(seen, willing)


def _suits(executor: ExecutorInfo, job: Job) -> bool:
    return not missing(job.task, job.queue, job.version, job.slots, [executor])


def _unwilling(able: Sequence[ExecutorInfo]) -> Iterator[Reason]:
    """None of those that could run the job takes any now."""
    stopping = {f"{one.name} ({one.id})": one.id for one in able if one.draining}
    loaded = {f"{one.name} ({one.overloaded})": one.id for one in able if one.overloaded and not one.draining}
    hint = "start another one: ostinato work APP"
    if stopping:
        yield Reason("draining", f"it could run on {_jobs(stopping)}: stopping", hint, tuple(stopping.values()))
    if loaded:
        text = f"it could run on {_jobs(loaded)}: overloaded, so that no work is taken for now"
        yield Reason("overloaded", text, hint, tuple(loaded.values()))


def _places(seen: Situation, willing: Sequence[ExecutorInfo]) -> Iterator[Reason]:
    slots = seen.row.job.slots
    ahead = _ahead(seen)
    places = [_place(seen, one, ahead) for one in willing]
    if any(one.left >= slots for one in places):
        return
    if all(one.free < slots for one in places):
        yield _busy(seen, places)
    heavy = {one.heavy: None for one in places if one.heavy}
    if heavy:
        text = f"{_jobs(heavy)} need more slots than are free, and those that are free are kept for them"
        yield Reason("heavy", text, "it goes on when running jobs end", tuple(heavy))
    first = [row.job.id for row in ahead if any(_suits(one, row.job) for one in willing)]
    if first:
        least = "at least " if seen.more else ""
        text = f"{least}{len(first)} ready jobs come first, by priority or by age: {_jobs(first)}"
        yield Reason("line", text, f"post it with a higher priority; ostinato show {first[0]}", tuple(first))


def _busy(seen: Situation, places: Sequence[Place]) -> Reason:
    slots = seen.row.job.slots
    told = ", ".join(f"{one.executor.name} ({one.free} of {one.executor.slots} free)" for one in places)
    owners = {one.executor.id for one in places}
    names = tuple(row.job.id for row in seen.running if row.executor_id in owners)
    kept = "; what is free is kept for it" if slots > 1 and any(one.free for one in places) else ""
    text = f"it needs {slots} slot{'s' * (slots > 1)}, but the executors that could run it are busy: {told}{kept}"
    return Reason("slots", text, "it goes on when running jobs end; or ostinato work APP", names)


def _ahead(seen: Situation) -> list[Row]:
    """The ready jobs that a claim would take before this one, first things first."""
    place = {row.job.id: -at if row.job.front else at for at, row in enumerate(seen.ready, 1)}
    behind = -LOOK if seen.row.job.front else LOOK + 1
    own = (-seen.row.priority, place.get(seen.row.job.id, behind))
    line = sorted((-row.priority, place[row.job.id], at) for at, row in enumerate(seen.ready))
    first = (seen.ready[at] for priority, position, at in line if (priority, position) < own)
    return [row for row in first if not _stuck(seen, row)]


def _stuck(seen: Situation, row: Row) -> bool:
    """Whether a capacity or rate holds this job back: then it holds back nobody."""
    alone = replace(seen, row=row)
    return any(_holds(alone)) or any(_rates(alone))


def _place(seen: Situation, executor: ExecutorInfo, ahead: Sequence[Row]) -> Place:
    free = left = executor.slots - sum(row.job.slots for row in seen.running if row.executor_id == executor.id)
    for row in ahead:
        if _suits(executor, row.job):
            if row.job.slots > left:
                return Place(executor, free, 0, row.job.id if left > 0 else None)
            left -= row.job.slots
    return Place(executor, free, left, None)


# words


def _label(name: str) -> tuple[str, str]:
    """What a capacity bounds, and its name: ``queue:mail`` is the queue mail."""
    kind, colon, label = name.partition(":")
    return (kind, label) if colon else ("resource", name)


def _option(name: str) -> str:
    kind, label = _label(name)
    return label if kind == "queue" else f"--{kind} {label}"


def _jobs(names: Sequence[str] | Mapping[str, object]) -> str:
    shown = list(names)[:SHOWN]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(shown)}{more}"


def _span(micros: int) -> str:
    """``h:mm:ss``"""
    return str(timedelta(seconds=max(1, round(micros / SECOND))))


def _at(at: int) -> str:
    return moment(at).strftime("%Y-%m-%d %H:%M:%S UTC")


def _until(at: int, now: int) -> str:
    return f"{_at(at)} (in {_span(at - now)})" if at > now else f"{_at(at)} (now)"
