"""Attempts: counted without gaps, one at a time, each accepted at most once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from ostinato.lifecycle import MAX_DEATHS, backoff_delay
from ostinato.model import SECOND, WAITING, Attempt, OutcomeKind, Row, State
from ostinato.testing.history import Facts, Fault, History, Kept
from ostinato.testing.invariants import Violation
from ostinato.testing.story import Story

ENDS: dict[State, frozenset[OutcomeKind]] = {
    "succeeded": frozenset({"success"}),
    "failed": frozenset({"failure", "timeout", "died", "retry", "lost", "unreadable"}),
}
"""With which outcomes a job can have ended so."""
CHARGED = ("failure", "timeout", "died", "retry", "unreadable")


def counted(story: Story, facts: Facts) -> Iterator[Violation]:
    """Attempts are numbered 1, 2, 3 to the newest, without gaps or repeats."""
    if story.kept is None:
        return
    row, numbers = story.kept.row, [one.number for one in story.attempts]
    ended = row.attempt - (row.state == "running")
    if numbers != list(range(1, ended + 1)):
        said = f"its ended attempts are numbered {numbers}, but {ended} should have ended"
        yield Violation("attempts counted", story.id, said, (Kept(story.kept), *story.attempts))


def one_end(story: Story, facts: Facts) -> Iterator[Violation]:
    """It ended once, as its last attempt says; only who asks for it may have it run again."""
    if story.kept is None:
        return
    row, attempts = story.kept.row, story.attempts
    successes = [one for one in attempts if one.outcome == "success"]
    if len(successes) > 1 + len(story.perhaps("rerun")):
        yield Violation("one end", story.id, f"it succeeded {len(successes)} times", tuple(successes))
    last = attempts[-1].outcome if attempts else None
    if row.state in ENDS and last not in ENDS[row.state] and not _ended_unrun(row, last):
        said = f"it is {row.state}, but its last attempt ended as {last or 'none'}"
        yield Violation("one end", story.id, said, (Kept(story.kept), *attempts[-1:]))
    if row.state == "expired" and attempts:
        yield Violation("one end", story.id, "it expired, but was started", (Kept(story.kept), *attempts))


def _ended_unrun(row: Row, last: OutcomeKind | None) -> bool:
    """Nobody runs such a job, or it came after one that did not succeed."""
    return row.job.kind in WAITING or (last is None and row.state == "failed" and row.job.after is not None)


def in_turn(history: History, stories: dict[str, Story]) -> Iterator[Violation]:
    """An attempt begins after the one before it has ended. By their own clock: an executor that was
    frozen in the middle of a claim notes a time that has passed."""
    slack = history.facts.slack
    freezes = [fault for fault in history.faults if fault.kind == "freeze"]
    for story in stories.values():
        for one in story.attempts:
            if one.ended_at < one.started_at - slack:
                yield Violation("in turn", story.id, f"attempt {one.number} ended before it began", (one,))
        for one, other in pairwise(story.attempts):
            if other.started_at < one.ended_at - slack and not any(_during(fault, other, slack) for fault in freezes):
                said = f"attempt {other.number} began before attempt {one.number} had ended"
                yield Violation("in turn", story.id, said, (one, other))


def _during(freeze: Fault, one: Attempt, slack: int) -> bool:
    """Whether the attempt's executor was just about to freeze when it began, or frozen."""
    return freeze.whom == one.executor_id and freeze.began - slack <= one.started_at <= freeze.ended


def backed_off(story: Story, facts: Facts) -> Iterator[Violation]:
    """After a failure the next attempt waits at least as long as the task's back-off says."""
    charged = 0
    for one, other in pairwise(story.attempts):
        charged += one.outcome in CHARGED
        if one.outcome in ("failure", "died", "timeout") and story.row is not None and not story.perhaps("rerun"):
            wait = backoff_delay(story.row.job.policy.backoff, charged, 1.0)
            if other.started_at < one.ended_at + wait - facts.slack:
                said = (
                    f"attempt {other.number} began less than {wait / SECOND:g} s after attempt {one.number} had failed"
                )
                yield Violation("back-off", story.id, said, (one, other))


def within_budget(story: Story, facts: Facts) -> Iterator[Violation]:
    """It failed no more often than it may, and was running at no more deaths than `MAX_DEATHS`."""
    if story.row is None:
        return
    rounds = 1 + len(story.perhaps("rerun"))
    charged = [one for one in story.attempts if one.outcome in CHARGED]
    if len(charged) > story.row.job.policy.max_attempts * rounds:
        said = f"it failed {len(charged)} times, but may only {story.row.job.policy.max_attempts} times"
        yield Violation("budget", story.id, said, tuple(charged))
    deaths = [one for one in story.attempts if one.outcome in ("died", "lost")]
    rounds += sum(one.outcome == "suspended" for one in story.attempts)  # they count from a flow's last wait on
    if len(deaths) > MAX_DEATHS * rounds:
        yield Violation("budget", story.id, f"it was running at {len(deaths)} deaths", tuple(deaths))


def fenced(story: Story, facts: Facts) -> Iterator[Violation]:
    """What an executor was told to be accepted is what the store keeps: nobody else ended that attempt."""
    kept = {one.number: one for one in story.attempts}
    for heard in story.heard if story.kept is not None else ():
        one = kept.get(heard.attempt)
        if heard.kind == "success" and not _is(one, ("success",), heard.executor):
            said = f"executor {heard.executor} was told that its success of attempt {heard.attempt} is accepted"
            yield Violation("fenced", story.id, said, (heard, *((one,) if one else ())))
        elif heard.kind == "rescue" and not _is(one, ("lost",), None):
            said = f"executor {heard.executor} rescued attempt {heard.attempt}, but that did not get lost"
            yield Violation("fenced", story.id, said, (heard, *((one,) if one else ())))
    told = [heard for heard in story.heard if heard.kind in ("success", "fail", "cancel", "expire")]
    if len(told) > 1 + len(story.perhaps("rerun")):
        said = f"executors were told {len(told)} times that they had ended it"
        yield Violation("fenced", story.id, said, tuple(told))


def _is(one: Attempt | None, outcomes: tuple[OutcomeKind, ...], executor: str | None) -> bool:
    return one is not None and one.outcome in outcomes and executor in (None, one.executor_id)
