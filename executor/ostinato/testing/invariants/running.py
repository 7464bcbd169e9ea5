"""Effects: what attempts did to the world, held against what the store keeps of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from ostinato.model import SECOND
from ostinato.testing.history import Facts, Fault, History, Kept
from ostinato.testing.invariants import Violation
from ostinato.testing.story import Story


def done_at_least_once(story: Story, facts: Facts) -> Iterator[Violation]:
    """An attempt that was accepted as a success has done its work, from the beginning to the end."""
    if story.row is None or (facts.witnessed is not None and story.row.job.task not in facts.witnessed):
        return
    complete = {run.attempt for run in story.runs() if run.complete}
    for one in story.attempts:
        if one.outcome == "success" and one.number not in complete:
            said = f"attempt {one.number} is kept as a success, but its work is not complete"
            yield Violation("done", story.id, said, (one, *(e for e in story.effects if e.attempt == one.number)))


def each_once(story: Story, facts: Facts) -> Iterator[Violation]:
    """No number of an attempt is given to two runs, and none runs that the store does not know."""
    for run in story.runs():
        begins = [sign for sign in run.signs if sign.kind == "begin"]
        if len(begins) != 1 or len({sign.pid for sign in run.signs}) != 1:
            said = f"attempt {run.attempt} was begun {len(begins)} times"
            yield Violation("each once", story.id, said, tuple(run.signs))
        if story.kept is not None and run.attempt > story.kept.row.attempt:
            said = f"attempt {run.attempt} ran, but the store never gave it"
            yield Violation("each once", story.id, said, (run.begin, Kept(story.kept)))


def no_two_runs(story: Story, facts: Facts) -> Iterator[Violation]:
    """Of two runs of a job one is over when the other begins, but for the time that zombies have."""
    for run, later in pairwise(sorted(story.runs(), key=lambda run: run.begin.steady)):
        beside = run.last.steady - later.begin.steady
        if beside > facts.overlap + facts.slack:
            said = f"attempts {run.attempt} and {later.attempt} ran beside each other for {beside / SECOND:.3f} s"
            yield Violation("no two runs", story.id, said, (run.begin, later.begin, run.last))


def cancelled_is_over(story: Story, facts: Facts) -> Iterator[Violation]:
    """After the answer to a cancel no new attempt begins; one that runs just then may be about to begin."""
    again = max((call.ended or call.began for call in story.perhaps("rerun")), default=0)
    for call in story.answered("cancel"):
        if again >= call.began:
            continue
        begins = [run.begin for run in story.runs() if run.begin.at > call.ended + facts.slack]
        allowed = 1 if call.states[call.jobs.index(story.id)] == "running" else 0
        if any(run.begin.at < call.ended < run.last.at for run in story.runs()):
            allowed = 0  # the one that runs was seen
        if len(begins) > allowed:
            said = f"attempt {begins[-1].attempt} began after it was cancelled"
            yield Violation("cancelled", story.id, said, (call, *begins))


def in_time(story: Story, facts: Facts) -> Iterator[Violation]:
    """It was not started before its time, and never after its expiry. By the clock of the store alone."""
    if story.kept is None:
        return
    row, job = story.kept.row, story.kept.row.job
    if row.attempt == 1 and row.started_at is not None and not story.perhaps("rerun"):
        if row.started_at < job.run_at:
            said = f"it was started {(job.run_at - row.started_at) / SECOND:g} s too early"
            yield Violation("in time", story.id, said, (Kept(story.kept),))
        if job.expires_at is not None and row.started_at >= job.expires_at:
            said = f"it was started {(row.started_at - job.expires_at) / SECOND:g} s after its expiry"
            yield Violation("in time", story.id, said, (Kept(story.kept),))
    early = [sign for sign in story.effects if sign.at < job.run_at - facts.slack]
    if early:
        yield Violation("in time", story.id, "it ran before its time", (early[0], Kept(story.kept)))


def within_timeout(story: Story, facts: Facts) -> Iterator[Violation]:
    """No attempt goes on after its time limit and grace."""
    if story.row is None or story.row.job.policy.timeout is None:
        return
    limit = story.row.job.policy.timeout + story.row.job.policy.grace
    for run in story.runs():
        took = run.last.steady - run.begin.steady
        if took > limit + facts.slack:
            said = f"attempt {run.attempt} ran for {took / SECOND:g} s, with a limit and grace of {limit / SECOND:g} s"
            yield Violation("timeout", story.id, said, (run.begin, run.last))


def failed_over(history: History, stories: dict[str, Story]) -> Iterator[Violation]:
    """The runs of a killed executor are rescued when its lease is over; while the store is away, so
    much later."""
    facts = history.facts
    kills = {fault.whom: fault for fault in history.faults if fault.kind == "kill"}
    outages = [fault for fault in history.faults if fault.kind == "outage"]
    for story in stories.values():
        for one in story.attempts:
            kill = kills.get(one.executor_id)
            if kill is None or one.outcome != "lost" or one.started_at > kill.began:
                continue
            late = one.ended_at - kill.began - facts.lease - facts.failover - _away(outages, kill.began, one.ended_at)
            if late > 0:
                said = f"attempt {one.number} was rescued {late / SECOND:.3f} s later than promised"
                yield Violation("failed over", story.id, said, (kill, one))


def _away(outages: list[Fault], begin: int, end: int) -> int:
    """How long the store was away meanwhile."""
    return sum(max(0, min(end, fault.ended) - max(begin, fault.began)) for fault in outages)
