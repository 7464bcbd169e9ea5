"""Jobs that wait and that no living executor can run, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

from ostinato.model import APPROVAL, DUE, SIGNAL, TIMER, ExecutorInfo
from ostinato.rules import matches
from ostinato.storage import Count

PENDING = frozenset({"ready", "scheduled", "blocked"})
NOBODYS = frozenset({APPROVAL, SIGNAL, TIMER})
"""Tasks of jobs that wait and are never run."""


class Stranded(Struct, frozen=True):
    """``jobs`` jobs of one kind; ``why`` says what is missing, and what would help."""

    task: str
    queue: str
    version: int
    slots: int
    jobs: int
    why: str


def stranded(counts: Iterable[Count], living: Sequence[ExecutorInfo]) -> list[Stranded]:
    """The kinds of waiting jobs that none of these executors can run."""
    pending: Counter[tuple[str, str, int, int]] = Counter()
    for one in counts:
        if one.state in PENDING and one.task not in NOBODYS:
            pending[one.task, one.queue, one.version, one.slots] += one.jobs
    found = []
    for (task, queue, version, slots), jobs in sorted(pending.items()):
        why = missing(task, queue, version, slots, living)
        if why:
            found.append(Stranded(task, queue, version, slots, jobs, why))
    return found


def missing(task: str, queue: str, version: int, slots: int, living: Sequence[ExecutorInfo]) -> str:
    """Why none of the executors can run such a job; "" if one can."""
    if not living:
        return "no executor is running → ostinato work APP"
    knowing = [one for one in living if task in one.tasks]
    if not knowing and task == DUE:
        return 'no executor listens for events that are due → executor.on("due", listener)'
    if not knowing:
        return f'no executor knows task "{task}" → start one whose APP defines it'
    newest = max(one.tasks[task] for one in knowing)
    if newest < version:
        return (
            f'no executor knows version {version} of task "{task}" (the newest is {newest}) → deploy the newer release'
        )
    able = [one for one in knowing if one.tasks[task] >= version]
    serving = [one for one in able if matches(one.queues, queue)]
    if not serving:
        return f'no executor takes task "{task}" from queue "{queue}" → ostinato work APP --queues {queue}'
    most = max(one.slots for one in serving)
    if most < slots:
        return f"it costs {slots} slots, but no executor has more than {most} → ostinato work APP --slots {slots}"
    return ""
