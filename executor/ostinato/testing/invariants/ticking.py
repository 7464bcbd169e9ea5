"""Schedules: every tick has its job, and no other one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ostinato.model import Schedule
from ostinato.schedule import between
from ostinato.storage import Record
from ostinato.testing.history import History, Kept, Planned
from ostinato.testing.invariants import Violation
from ostinato.testing.story import Story, moment


def one_job_a_tick(history: History, stories: dict[str, Story]) -> Iterator[Violation]:
    """No tick of a schedule has two jobs, however many executors look after it."""
    for plan in history.planned:
        for tick, records in _jobs(history, plan.schedule).items():
            if plan.schedule.after is None and len(records) > 1:
                job_id = records[-1].row.job.id
                said = f"tick {moment(tick)} of schedule {plan.schedule.name} has {len(records)} jobs"
                yield Violation("one job a tick", job_id, said, (plan, *map(Kept, records)))


def every_tick(history: History, stories: dict[str, Story]) -> Iterator[Violation]:
    """No tick is lost, of schedules of which that is expected."""
    plans = {plan.schedule.name: plan for plan in history.planned}
    for name in history.facts.every_tick:
        plan = plans.get(name)
        if plan is None:
            yield Violation("every tick", "", f"the store has no schedule {name}")
        elif lost := _lost(history, plan):
            said = f"{len(lost)} ticks of schedule {name} have no job, the first of them {moment(lost[0])}"
            yield Violation("every tick", "", said, (plan,))


def _lost(history: History, plan: Planned) -> list[int]:
    jobs = _jobs(history, plan.schedule)
    expected = [] if plan.last is None else between(plan.schedule, plan.schedule.anchor, plan.last)
    return [tick for tick in expected if tick not in jobs]


def _jobs(history: History, schedule: Schedule) -> dict[int, list[Record]]:
    """By tick. A job with a unique key, as those that are made up by hand, answers for itself."""
    found: defaultdict[int, list[Record]] = defaultdict(list)
    for record in history.kept:
        job = record.row.job
        if job.schedule == schedule.name and job.tick is not None and job.unique is None:
            found[job.tick].append(record)
    return dict(found)
