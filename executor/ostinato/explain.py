"""Why a job is where it is: every reason, with the names of what is waited for, and what would help.

Pure: `ostinato.situation.look` asks the store for what is needed.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from ostinato.capacities import Paused
from ostinato.model import FINAL, WAITING, ExecutorInfo, Job, Row, State
from ostinato.rules import unbounded, units_of
from ostinato.signals import event_of
from ostinato.situation import LOOK, Situation, date, label_of, option_of, some, span, until
from ostinato.status import question
from ostinato.stranded import missing

Kind = Literal[
    "ended",  # nothing more will happen by itself
    "round",  # it has not succeeded, so the schedules after its own leave out this round
    "running",  # it has begun
    "waiting",  # for other jobs
    "answer",  # of a person, or an event from outside
    "parked",  # a flow that cannot go on as its code is
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


def explain(seen: Situation) -> Explanation:
    """All reasons why the job does not start now; if there is none, that it should."""
    row = seen.row
    if row.state in FINAL:
        reasons = [_ended(row), *_unmet(seen)]
    elif row.state == "running":
        reasons = [_running(row, seen.now)]
    elif row.state == "waiting":
        reasons = [_waiting(row, seen.now)]
    else:
        reasons = [*_blocked(seen), *_time(seen), *_holds(seen), *_rates(seen), *_executors(seen)]
    nothing = Reason("none", "nothing stands in its way: it should start at once")
    return Explanation(row.job.id, row.job.task, row.state, tuple(reasons or [nothing]))


def _ended(row: Row) -> Reason:
    why = f": {row.reason}" if row.reason else ""
    at = f" at {date(row.ended_at)}" if row.ended_at else ""
    return Reason("ended", f"it has ended{at}{why}", f"ostinato rerun {row.job.id}")


def _unmet(seen: Situation) -> Iterator[Reason]:
    if seen.unmet:
        text = f"the schedules that run after its success leave out this round: {some(seen.unmet)}"
        yield Reason("round", text, "", tuple(seen.unmet))


def _running(row: Row, now: int) -> Reason:
    since = "" if row.started_at is None else f" for {span(now - row.started_at)}"
    stopping = ", and is being cancelled" if row.cancelling else ""
    owner = row.executor_id or ""
    text = f"it runs{since} on executor {owner}, attempt {row.attempt}{stopping}"
    return Reason("running", text, f"ostinato logs -f {row.job.id}", (owner,))


def _waiting(row: Row, now: int) -> Reason:
    """Nobody runs it now: it waits for a word from outside, or for its time."""
    if row.job.kind not in WAITING:
        return Reason("parked", row.reason or "it is parked", f"ostinato rerun {row.job.id}")
    return Reason("time" if row.job.kind == "timer" else "answer", f"it waits for {_called(row, now)}", _answer(row))


def _called(row: Row, now: int) -> str:
    """What a job that somebody waits for is, in a few words."""
    job, asks = row.job, question(row.job)
    limit = "" if row.expires_at is None else until(row.expires_at, now)
    if row.state != "waiting" or job.kind not in WAITING:
        return f"{job.step or job.task} (job {job.id}, {row.state})"
    if job.kind == "timer":
        return f"a time: {limit}"
    if asks is None:
        return f"the event {' '.join(event_of(job)).strip()}"
    whose = f"the answer of {asks.assignee}" if asks.assignee else "an answer"
    return f'{whose} to "{asks.title}" (job {job.id}{f", until {limit}" if limit else ""})'


def _answer(row: Row) -> str:
    """The command that brings what it waits for; "" if it waits for no word from outside."""
    if row.job.kind == "signal":
        return f"ostinato signal {shlex.join(filter(None, event_of(row.job)))}"
    return f"ostinato approve {row.job.id}" if row.job.kind == "approval" else ""


def _blocked(seen: Situation) -> Iterator[Reason]:
    after, now = seen.row.after, seen.now
    if seen.row.state != "blocked" or after is None:
        return
    told = {one.job.id: _called(one, now) for one in seen.awaited}
    names = [told.get(job_id, f"job {job_id}") for job_id in after.jobs]
    text = f"it waits for {'any of ' if after.first and len(names) > 1 else ''}{some(names)}"
    first = seen.awaited[0] if seen.awaited else None
    hint = "" if first is None else _answer(first) or f"ostinato explain {first.job.id}"
    yield Reason("waiting", text, hint, after.jobs)


def _time(seen: Situation) -> Iterator[Reason]:
    row = seen.row
    if row.state == "scheduled":
        again = f", for attempt {row.attempt + 1} ({row.reason})" if row.attempt and row.reason else ""
        yield Reason("time", f"it is not due before {until(row.run_at, seen.now)}{again}")


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
    kind, label = label_of(name)
    since = f"since {date(stop.at)}, by {stop.by}"
    if kind == "resource":
        text = f'resource "{label}" is out of service {since}'
        return Reason("resource", text, f"ostinato resources back {label}", (label,))
    return Reason(
        "paused", f'{kind} "{label}" is paused {since}', f"ostinato queues resume {option_of(name)}", (label,)
    )


def _full(name: str, limit: int, holders: Mapping[str, int]) -> Reason:
    kind, label = label_of(name)
    if limit == 0:
        text = f'{kind} "{label}" is limited to 0 jobs at a time, so that none starts'
    else:
        text = f'{kind} "{label}" is limited to {limit} at a time, and {some(holders)} run'
    return Reason("concurrency", text, f"ostinato queues limit {option_of(name)} --concurrency N", tuple(holders))


def _too_small(name: str, units: int, there: int | None) -> Reason:
    _, label = label_of(name)
    if there is None:
        text = f'it needs {units} of resource "{label}", which nobody has declared'
    else:
        text = f'it needs {units} of resource "{label}", which has {there} in all'
    return Reason("resource", text, f"ostinato resources set {label} {units}", (label,))


def _held(name: str, units: int, there: int, holders: Mapping[str, int]) -> Reason:
    _, label = label_of(name)
    free = max(0, there - sum(holders.values()))
    text = f'it needs {units} of resource "{label}", of which {free} of {there} are free: {some(holders)} hold it'
    return Reason("resource", text, "it comes free when they end", tuple(holders))


def _rates(seen: Situation) -> Iterator[Reason]:
    for name in units_of(seen.row.job):
        rate = seen.rates.get(name)
        if rate is None or (seen.paces is not None and name not in seen.paces):
            continue
        kind, label = label_of(name)
        text = f'{kind} "{label}" may start {rate.count} jobs in {span(rate.per)}'
        if seen.paces is None:
            text += ", which may hold it back (this store cannot tell)"
        else:
            text += f", and has; the next may start at {until(seen.paces[name], seen.now)}"
        yield Reason("rate", text, f"ostinato queues limit {option_of(name)} --rate N/TIME", (label,))


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
        yield Reason("draining", f"it could run on {some(stopping)}: stopping", hint, tuple(stopping.values()))
    if loaded:
        text = f"it could run on {some(loaded)}: overloaded, so that no work is taken for now"
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
        text = f"{some(heavy)} need more slots than are free, and those that are free are kept for them"
        yield Reason("heavy", text, "it goes on when running jobs end", tuple(heavy))
    first = [row.job.id for row in ahead if any(_suits(one, row.job) for one in willing)]
    if first:
        least = "at least " if seen.more else ""
        text = f"{least}{len(first)} ready jobs come first, by priority or by age: {some(first)}"
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
