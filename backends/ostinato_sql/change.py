"""Asks from outside, applied by state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, delete, literal_column, null, select, update

from ostinato.model import FINAL, Channel
from ostinato.storage import Ask, Changed
from ostinato_sql import unique
from ostinato_sql.link import Link
from ostinato_sql.statement import Keyed
from ostinato_sql.tables import attempts, jobs, notes, tags

_STATES = Keyed(
    lambda keys: (
        select(jobs.c.id, jobs.c.seq, jobs.c.state).where(jobs.c.id.in_(keys)).order_by(jobs.c.seq).with_for_update()
    )
)
_CANCEL = Keyed(
    lambda keys: (
        update(jobs)
        .where(jobs.c.seq.in_(keys))
        .values(state=literal_column("'cancelled'"), ended_at=bindparam("at"), reason=bindparam("why"))
    ),
    "at",
    "why",
)
_FLAG = Keyed(
    lambda keys: (
        update(jobs).where(jobs.c.seq.in_(keys)).values(cancelling=literal_column("1"), reason=bindparam("why"))
    ),
    "why",
)
_RERUN = Keyed(
    lambda keys: (
        update(jobs)
        .where(jobs.c.seq.in_(keys))
        .values(
            state=literal_column("'ready'"),
            priority=jobs.c.asked_priority,
            run_at=literal_column("0"),
            expires_at=null(),  # who asks for an expired job wants it in spite of its expiry
            charged=literal_column("0"),
            deaths=literal_column("0"),
            ended_at=null(),
            result=null(),
            error=null(),
            reason=bindparam("why"),
        )
    ),
    "why",
)
_FORGET = (
    unique.FORGET,
    Keyed(lambda keys: delete(attempts).where(attempts.c.job.in_(keys))),
    Keyed(lambda keys: delete(notes).where(notes.c.job.in_(keys))),
    Keyed(lambda keys: delete(tags).where(tags.c.job.in_(keys))),
    Keyed(lambda keys: delete(jobs).where(jobs.c.seq.in_(keys))),
)


def change(link: Link, ids: Sequence[str], ask: Ask, now: int) -> tuple[list[Changed], set[Channel]]:
    """What became of each, and who should hear of it."""
    seqs: dict[str, int] = {}
    after: dict[str, Any] = {}
    for job_id, seq, state in link.among(_STATES, ids):
        seqs[job_id], after[job_id] = seq, state
    ended = [seqs[job_id] for job_id, state in after.items() if state in FINAL]
    free = unique.free_to_rerun(link, ended, now) if ask.kind == "rerun" else set(ended)
    answers, told = [], set[Channel]()
    changing: dict[str, list[int]] = {"cancelled": [], "running": [], "ready": [], "forgotten": []}
    for job_id in ids:
        if job_id not in seqs:
            answers.append(Changed(job_id, None, None))
            continue
        before = after[job_id]
        become = _become(before, ask)
        if become == "ready" and seqs[job_id] not in free:
            become = None
        if become is not None:
            changing[become].append(seqs[job_id])
            after[job_id] = None if become == "forgotten" else become
        answers.append(Changed(job_id, before, after[job_id]))
    link.run_among(_CANCEL, changing["cancelled"], now, ask.reason)
    link.run_among(_FLAG, changing["running"], ask.reason)
    link.run_among(_RERUN, changing["ready"], ask.reason)
    for statement in _FORGET:
        link.run_among(statement, changing["forgotten"])
    if changing["cancelled"]:
        told.add("ended")
    if changing["running"]:
        told.add("orders")
    if changing["ready"]:
        told.add("ready")
    return answers, told


def _become(state: str | None, ask: Ask) -> str | None:
    """The state to enter, None if the ask changes nothing."""
    if state is None:
        return None
    if ask.kind == "cancel":
        return None if state in FINAL else "running" if state == "running" else "cancelled"
    if state not in FINAL:
        return None
    return "ready" if ask.kind == "rerun" else "forgotten"
