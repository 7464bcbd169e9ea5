"""The rules of the seam that every store keeps alike: pure, so that a store may apply them or say the
same in a language of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Protocol

from ostinato.model import FINAL, SECOND, WAITING, After, End, State, Unique
from ostinato.storage import Rate, Want


class Demand(Protocol):
    """What a claim goes by: a job, or what the jobs of one lane have in common."""

    @property
    def queue(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def slots(self) -> int: ...
    @property
    def holds(self) -> tuple[tuple[str, int], ...]: ...


class OfKind(Protocol):
    """A job, or as much of it as a store has at hand."""

    @property
    def kind(self) -> str: ...


def suits(demand: Demand, want: Want) -> bool:
    """Whether the executor that wants this can ever take such jobs."""
    accepted = want.tasks.get(demand.task)
    return (
        accepted is not None
        and demand.version <= accepted
        and demand.slots <= want.capacity
        and matches(want.queues, demand.queue)
    )


def units_of(demand: Demand) -> Mapping[str, int]:
    """What such a job occupies of which capacity while it runs."""
    return _units(demand.queue, demand.task, demand.holds)


@lru_cache(maxsize=4096)
def _units(queue: str, task: str, holds: tuple[tuple[str, int], ...]) -> Mapping[str, int]:
    units = Counter({f"queue:{queue}": 1, f"task:{task}": 1})
    for name, count in holds:
        units[name] += count
    return units


def free_at(rate: Rate, starts: Sequence[int], now: int) -> int | None:
    """When the rate lets one more job start, after these ``starts``, ascending (older ones than the rate
    counts do no harm); None: now."""
    if len(starts) < rate.count:
        return None
    at = (starts[-rate.count] if rate.count else now) + rate.per
    return at if at > now else None


def way_out(end: End, cancelling: bool, asked: str) -> tuple[State, str]:
    """The state to enter and the reason to give: a cancel that was ``asked`` for meanwhile, with this reason,
    wins over another try."""
    if not cancelling:
        return end.state, end.reason
    if end.state not in FINAL:
        return "cancelled", asked or end.reason
    return end.state, end.reason or (asked if end.state == "cancelled" else "")


def first_state(job: OfKind, run_at: int, now: int) -> State:
    """The state of a job that waits for no other one."""
    if job.kind in WAITING:
        return "waiting"
    return "scheduled" if run_at > now else "ready"


def consequence(after: After, ended: Mapping[str, State], left: bool) -> tuple[State, str] | None:
    """What becomes of a job when some of those that it waits for have ended in these states; ``left`` says whether
    others have not. The final state that it enters and why; ("ready", ""): it waits no longer; None: it does."""
    if after.failure != "run":
        for job_id, state in ended.items():
            if state != "succeeded":
                return _FATE[after.failure], f"it came after job {job_id}, which is {state}"
    return ("ready", "") if not left or (after.first and ended) else None


_FATE: Mapping[str, State] = {"cancel": "cancelled", "fail": "failed"}


def holds_key(unique: Unique, state: State, token: int, posted_at: int, now: int) -> bool:
    """Whether the job that was created with this key still holds it."""
    if unique.period is not None:
        return now < posted_at + int(unique.period * SECOND)
    return state not in FINAL and (unique.until == "finished" or token == 0)


def unbounded(name: str) -> bool:
    """Whether there is any number of this until a capacity is set."""
    return name.startswith(("queue:", "task:", "key:"))


def matches(patterns: Sequence[str], queue: str) -> bool:
    """Whether a queue is among names or globs (``*``, ``?``, ``[...]`` as in `fnmatch`)."""
    return queue in patterns or any(fnmatchcase(queue, pattern) for pattern in patterns)
