"""What jobs share: capacities, slots, unique keys, and their place in line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from itertools import pairwise

from ostinato.model import FINAL, SECOND, Row, Unique
from ostinato.storage import Record
from ostinato.testing.history import Effect, History, Kept
from ostinato.testing.invariants import Violation
from ostinato.testing.story import Run, Story

Span = tuple[int, int, int, Effect]
"""From when to when an attempt surely ran, how many units it held, and its first sign."""


def capacities_hold(history: History, stories: dict[str, Story]) -> Iterator[Violation]:
    """What runs at one time never holds more of a capacity than there is, as long as nobody changes it."""
    changed = {name for call in history.calls for name in call.limits}
    spans: defaultdict[str, list[Span]] = defaultdict(list)
    for story, run, until in _held(stories):
        job = story.row.job if story.row is not None else None
        for name, units in ((f"queue:{job.queue}", 1), *job.holds) if job is not None else ():
            spans[name].append((run.begin.at, until, units, run.begin))
    for name, capacity in history.facts.capacities.items():
        if name in changed:
            continue
        for used, seen in _over(spans[name], capacity, history.facts.slack):
            said = f"{used} units of {name!r} are held at one time, of {capacity}"
            yield Violation("capacities", seen[-1].job, said, seen)


def slots_hold(history: History, stories: dict[str, Story]) -> Iterator[Violation]:
    """No executor runs more than it has slots for."""
    if history.facts.slots is None:
        return
    spans: defaultdict[str, list[Span]] = defaultdict(list)
    for story, run, until in _held(stories):
        owner = next((one.executor_id for one in story.attempts if one.number == run.attempt), None)
        if owner is not None and story.row is not None:
            spans[owner].append((run.begin.at, until, story.row.job.slots, run.begin))
    for owner, of_one in spans.items():
        for used, seen in _over(of_one, history.facts.slots, history.facts.slack):
            said = f"executor {owner} runs {used} slots' worth, of {history.facts.slots}"
            yield Violation("slots", seen[-1].job, said, seen)


def _held(stories: dict[str, Story]) -> Iterator[tuple[Story, Run, int]]:
    """Every run, and until when it surely held what it needs: its last sign, or its loss."""
    for story in stories.values():
        ended = {one.number: one.ended_at for one in story.attempts}
        for run in story.runs():
            yield story, run, min(run.last.at, ended.get(run.attempt, run.last.at))


def _over(spans: Iterable[Span], capacity: int, slack: int) -> Iterator[tuple[int, tuple[Effect, ...]]]:
    """The first moment at which more is in use than there is. Spans shrink by ``slack``: the end of
    one run is noticed before the next begins, but two clocks may tell."""
    moments = []
    for begin, end, units, effect in spans:
        if end - slack > begin:
            moments += [(begin, 1, units, effect), (end - slack, 0, units, effect)]
    inside: dict[tuple[str, int], tuple[int, Effect]] = {}
    for _, begins, units, effect in sorted(moments, key=lambda one: one[:2]):
        if begins:
            inside[effect.job, effect.attempt] = units, effect
        else:
            inside.pop((effect.job, effect.attempt), None)
        used = sum(units for units, _ in inside.values())
        if used > capacity:
            yield used, tuple(effect for _, effect in inside.values())
            return


def best_first(history: History, stories: dict[str, Story]) -> Iterator[Violation]:
    """Nobody starts while one like it, but of higher priority, has been waiting for it. Told of first
    starts of jobs that every claim treats alike, and only where clocks leave no doubt."""
    slack = history.facts.slack
    lanes: defaultdict[object, list[Row]] = defaultdict(list)
    for record in history.kept:
        row, job = record.row, record.row.job
        plain = row.attempt == 1 and row.started_at is not None and not job.run_at and job.promote_at is None
        if plain and not stories[job.id].perhaps("rerun") and job.unique is None:
            lanes[job.queue, job.task, job.version, job.slots, job.holds].append(row)
    for rows in lanes.values():
        yield from _overtaken(rows, slack, stories)


def _overtaken(rows: list[Row], slack: int, stories: dict[str, Story]) -> Iterator[Violation]:
    waiting: list[tuple[int, int, str, Row]] = []
    arriving = sorted(rows, key=lambda row: row.posted_at)
    at = 0
    for row in sorted(rows, key=lambda row: row.started_at or 0):
        started = row.started_at or 0
        while at < len(arriving) and arriving[at].posted_at < started - slack:
            new = arriving[at]
            heappush(waiting, (-new.job.priority, -(new.started_at or 0), new.job.id, new))
            at += 1
        while waiting and (waiting[0][3].started_at or 0) <= started + slack:
            heappop(waiting)
        if waiting and -waiting[0][0] > row.job.priority:
            best = stories[waiting[0][2]].kept
            own = stories[row.job.id].kept
            said = f"it was started before {waiting[0][2]}, which has a higher priority and was waiting"
            yield Violation("best first", row.job.id, said, tuple(Kept(one) for one in (own, best) if one is not None))
            return


def keys_are_unique(history: History, stories: dict[str, Story]) -> Iterator[Violation]:
    """No two jobs hold one key at the same time."""
    holders: defaultdict[str, list[tuple[int, int, Record]]] = defaultdict(list)
    for record in history.kept:
        unique = record.row.job.unique
        if unique is not None and not stories[record.row.job.id].perhaps("rerun"):
            holders[unique.key].append((record.row.posted_at, _held_until(unique, record), record))
    for key, spans in holders.items():
        for (_, until, one), (posted, _, other) in pairwise(sorted(spans, key=lambda span: span[:2])):
            if posted < until:
                said = f"it was posted while {one.row.job.id} held its unique key {key!r}"
                yield Violation("unique keys", other.row.job.id, said, (Kept(one), Kept(other)))


def _held_until(unique: Unique, record: Record) -> int:
    row = record.row
    if unique.period is not None:
        return row.posted_at + int(unique.period * SECOND)
    if unique.until == "started" and record.attempts:
        return min(one.started_at for one in record.attempts)
    forever = 1 << 62  # microseconds
    return (row.ended_at or forever) if row.state in FINAL else forever
