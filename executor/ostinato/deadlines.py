"""Pure: whether a deadline is missed, and which step of a job is the first to show it.

Nothing is stored for it: it follows from the job and the times of its attempts. A job that ended
before its deadline, however it ended, has not missed it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ostinato.model import FINAL, Attempt, Row


def missed(row: Row, now: int) -> bool:
    """Whether the deadline passed before the job had ended."""
    at = row.ended_at if row.state in FINAL else now
    return row.job.deadline is not None and at is not None and at > row.job.deadline


def missed_first_at(row: Row, at: int | None, earlier: Callable[[], Iterable[Attempt]]) -> bool:
    """Whether a job that is started, or ends without an attempt, at this time is late, and was not
    at the end of an ``earlier`` attempt (which are looked up only if it matters)."""
    deadline = row.job.deadline
    if deadline is None or at is None or at <= deadline:
        return False
    begun = row.attempt - (row.state == "running")
    return begun == 0 or all(one.ended_at <= deadline for one in earlier())


def missed_during(row: Row, attempt: Attempt) -> bool:
    """Whether the deadline passed while the attempt ran."""
    deadline = row.job.deadline
    return deadline is not None and (row.started_at or 0) <= deadline < attempt.ended_at
