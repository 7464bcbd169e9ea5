"""Sample jobs, wants and ends: short words for what a test of a store says again and again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ostinato.model import FINAL, SECOND, Attempt, End, ExecutorInfo, Fence, Job, OutcomeKind, Row, State
from ostinato.storage import JobQuery, Store, Want

LEASE = 30 * SECOND

HOSTILE = (
    'it\'s "quoted" `so`',
    "ünïcödé 漢字 עברית 🦄👩‍👩‍👧",
    "100% _under_ [a-z]* ?",
    "'; DROP TABLE jobs; --",
    "return redis.call('FLUSHALL') -- ]] {0} %s $1 :name",
    "back\\slash \\u0041 \\x00",
    "line\nbreak\ttab\r\n",
    " spaces ",
    "null",
)
"""Texts that a careless store would interpret, cut or change."""

_KINDS: dict[State, OutcomeKind] = {"succeeded": "success", "failed": "failure", "cancelled": "cancelled"}


def job(job_id: str, **fields: Any) -> Job:
    return Job(**{"id": job_id, "task": "work", **fields})


def jobs(count: int, prefix: str = "j", **fields: Any) -> list[Job]:
    return [job(f"{prefix}{number:04}", **fields) for number in range(count)]


def want(**fields: Any) -> Want:
    """An executor with plenty of room that knows the task ``work``."""
    return Want(**{"tasks": {"work": 1}, "slots": 1000, "capacity": 1000, "count": 1000, "lease": LEASE, **fields})


def claim(store: Store, executor_id: str = "e1", **fields: Any) -> list[Row]:
    return store.claim(executor_id, want(**fields)).rows


def claim_one(store: Store, executor_id: str = "e1", **fields: Any) -> Row:
    (row,) = claim(store, executor_id, count=1, **fields)
    return row


def attempt(row: Row, outcome: OutcomeKind = "success", **fields: Any) -> Attempt:
    return Attempt(
        **{
            "job_id": row.job.id,
            "number": row.attempt,
            "executor_id": row.executor_id or "e1",
            "outcome": outcome,
            "started_at": row.started_at or 0,
            "ended_at": (row.started_at or 0) + SECOND,
            **fields,
        }
    )


def end(row: Row, state: State = "succeeded", **fields: Any) -> tuple[Fence, End]:
    """The fence of a claimed row, and an end of its run in the given state."""
    made = attempt(row, _KINDS.get(state, "retry"))
    return row.fence, End(**{"state": state, "attempt": made, "priority": row.priority, **fields})


def finish(store: Store, row: Row, state: State = "succeeded", **fields: Any) -> bool:
    (applied,) = store.finish([end(row, state, **fields)])
    return applied


def info(executor_id: str, **fields: Any) -> ExecutorInfo:
    return ExecutorInfo(
        **{
            "id": executor_id,
            "host": "host",
            "name": executor_id,
            "pid": 1,
            "process": 1,
            "started_at": 1,
            "slots": 4,
            **fields,
        }
    )


def look(store: Store, job_id: str) -> Row:
    """The job as the store holds it now."""
    (row,) = store.find(JobQuery(ids=(job_id,))).rows
    return row


def exists(store: Store, job_id: str) -> bool:
    return bool(store.find(JobQuery(ids=(job_id,))).rows)


def names(rows: Iterable[Row]) -> list[str]:
    return [row.job.id for row in rows]


def bring_to(store: Store, job_id: str, state: State) -> None:
    """Post a job and bring it into a state by the store's own verbs."""
    now = store.now()
    fields = {"scheduled": {"run_at": now + SECOND}, "expired": {"expires_at": now}}.get(state, {})
    store.post([job(job_id, **fields)])
    if state in FINAL or state == "running":
        rows = claim(store)
        if state in ("succeeded", "failed", "cancelled"):
            store.finish([end(row, state) for row in rows])
    assert look(store, job_id).state == state
