"""The checker: a history in, what is wrong with it out. Pure; it never looks at a store.

It finds contradictions between what clients were answered, what attempts did, what executors were
told, and what the store keeps in the end. What a history does not tell is not judged: a checker that
cries wolf is soon ignored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ostinato.testing.history import History
from ostinato.testing.invariants import OfAll, OfOne, Violation
from ostinato.testing.invariants.attempting import backed_off, counted, fenced, in_turn, one_end, within_budget
from ostinato.testing.invariants.keeping import (
    all_ended,
    follow_ups,
    forgotten,
    logs_kept,
    no_loss,
    nothing_from_nowhere,
    nothing_left,
)
from ostinato.testing.invariants.limiting import limits_over_time
from ostinato.testing.invariants.running import (
    cancelled_is_over,
    done_at_least_once,
    each_once,
    failed_over,
    in_time,
    no_two_runs,
    within_timeout,
)
from ostinato.testing.invariants.sharing import best_first, capacities_hold, keys_are_unique, slots_hold
from ostinato.testing.invariants.ticking import every_tick, one_job_a_tick
from ostinato.testing.story import moment, stories, told

OF_ONE: tuple[OfOne, ...] = (
    no_loss,
    forgotten,
    all_ended,
    counted,
    one_end,
    backed_off,
    within_budget,
    fenced,
    done_at_least_once,
    each_once,
    no_two_runs,
    cancelled_is_over,
    in_time,
    within_timeout,
    logs_kept,
)
OF_ALL: tuple[OfAll, ...] = (
    nothing_from_nowhere,
    follow_ups,
    in_turn,
    failed_over,
    capacities_hold,
    limits_over_time,
    slots_hold,
    best_first,
    keys_are_unique,
    one_job_a_tick,
    every_tick,
    nothing_left,
)


def check(history: History) -> list[Violation]:
    """All that is wrong with the history; empty if it keeps every promise."""
    by_job = stories(history)
    found = [
        violation for story in by_job.values() for invariant in OF_ONE for violation in invariant(story, history.facts)
    ]
    return [*found, *(violation for invariant in OF_ALL for violation in invariant(history, by_job))]


def summary(history: History) -> str:
    """One line: how much was looked at."""
    runs = len({(effect.job, effect.attempt) for effect in history.effects})
    faults = Counter(fault.kind for fault in history.faults)
    inflicted = ", ".join(f"{count} × {kind}" for kind, count in sorted(faults.items())) or "no faults"
    attempts = sum(len(record.attempts) for record in history.kept)
    return (
        f"{len(history.calls)} calls, {len(history.kept)} jobs, {attempts} attempts kept, {runs} runs seen, {inflicted}"
    )


def report(violations: Sequence[Violation]) -> str:
    """The first one with the lines that show it, and how many more there are of each kind."""
    first = violations[0]
    lines = sorted(told(one) for one in first.seen)
    more = Counter(violation.invariant for violation in violations[1:])
    rest = ", ".join(f"{count} × {name}" for name, count in more.most_common())
    return "\n".join(
        [
            f"violated: {first.invariant}",
            f"job {first.job}: {first.said}" if first.job else first.said,
            *(f"  {moment(at)}  {text}" if at else f"  {text}" for at, text in lines),
            *([f"and more: {rest}"] if rest else []),
        ]
    )
