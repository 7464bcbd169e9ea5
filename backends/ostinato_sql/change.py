"""Asks from outside, applied by state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

from sqlalchemy import bindparam, case, delete, literal_column, null, select, update

from ostinato.model import FINAL, WAITING, Channel, State
from ostinato.storage import Ask, Changed
from ostinato_sql import unique
from ostinato_sql.dependence import Consequences, is_living, lock_steps
from ostinato_sql.link import Link
from ostinato_sql.rows import error_text
from ostinato_sql.statement import Keyed
from ostinato_sql.tables import attempts, jobs, notes, steps, tags
from ostinato_sql.waits import AWAITED


class Known(NamedTuple):
    """What counts of a job that somebody asks something of."""

    seq: int
    id: str
    state: State
    awaited: bool
    stepped: bool
    kind: str
    flow: str | None

    @property
    def answerable(self) -> bool:
        return self.state == "waiting" and self.kind in WAITING

    @property
    def over(self) -> bool:
        """Ended, or parked for good unless somebody asks for more."""
        return self.state in FINAL or (self.state == "waiting" and self.kind not in WAITING)


_KNOWN = Keyed(
    lambda keys: (
        select(jobs.c.seq, jobs.c.id, jobs.c.state, AWAITED, jobs.c.stepped, jobs.c.kind, jobs.c.flow)
        .where(jobs.c.id.in_(keys))
        .order_by(jobs.c.seq)
        .with_for_update()
    )
)
_LIVING = Keyed(lambda keys: select(jobs.c.id).where(jobs.c.id.in_(keys), is_living))
_ANSWER = Keyed(
    lambda keys: (
        update(jobs)
        .where(jobs.c.seq.in_(keys))
        .ordered_values(
            (jobs.c.state, bindparam("new")),
            (jobs.c.ended_at, bindparam("at")),
            (jobs.c.result, bindparam("answer")),
            (jobs.c.error, bindparam("wrong")),
            (jobs.c.reason, bindparam("why")),
        )
    ),
    "new",
    "at",
    "answer",
    "wrong",
    "why",
)
_RERUN = Keyed(
    lambda keys: (
        update(jobs)
        .where(jobs.c.seq.in_(keys))
        .ordered_values(
            (jobs.c.state, bindparam("new")),
            (jobs.c.priority, jobs.c.asked_priority),
            (jobs.c.run_at, literal_column("0")),
            # who asks for an expired job wants it in spite of its expiry; a time with a default for its end runs on
            (jobs.c.expires_at, case((jobs.c.fallback.is_(None), null()), else_=jobs.c.expires_at)),
            (jobs.c.charged, literal_column("0")),
            (jobs.c.deaths, literal_column("0")),
            (jobs.c.ended_at, null()),
            (jobs.c.result, null()),
            (jobs.c.error, null()),
            (jobs.c.reason, bindparam("why")),
        )
    ),
    "new",
    "why",
)
_FORGET = (
    unique.FORGET,
    *(
        Keyed(lambda keys, table=table: delete(table).where(table.c.job.in_(keys)))  # type: ignore[misc]
        for table in (attempts, notes, steps, tags)
    ),
    Keyed(lambda keys: delete(jobs).where(jobs.c.seq.in_(keys))),
)
Become = State | Literal["forgotten"]


def change(link: Link, ids: Sequence[str], ask: Ask, now: int) -> tuple[list[Changed], set[Channel]]:
    """What became of each, and who should hear of it."""
    if ask.kind == "cancel":
        lock_steps(link, ids)
    known = {values[1]: Known(*values) for values in link.among(_KNOWN, ids)}
    refused = _refused(link, list(known.values()), ask, now)
    answers = []
    changing: dict[Become, list[Known]] = defaultdict(list)
    for job_id in ids:
        one = known.get(job_id)
        if one is None:
            answers.append(Changed(job_id, None, None))
            continue
        become = None if one.seq in refused else _become(one, ask)
        if become == "forgotten":
            del known[job_id]
        elif become is not None:
            known[job_id] = one._replace(state=become)
        if become is not None:
            changing[become].append(one)
        answers.append(Changed(job_id, one.state, known[job_id].state if job_id in known else None))
    consequences = Consequences(link, now)
    for become, some in changing.items():
        _apply(link, consequences, some, become, ask, now)
    consequences.draw()
    return answers, consequences.told


def _refused(link: Link, known: Sequence[Known], ask: Ask, now: int) -> set[int]:
    """Those that stay as they are because of another job."""
    if ask.kind == "rerun":
        wanted = [one.seq for one in known if one.over]
        return set(wanted) - unique.free_to_rerun(link, wanted, now)
    if ask.kind == "forget":
        living = {job_id for (job_id,) in link.among(_LIVING, [one.flow for one in known if one.flow is not None])}
        return {one.seq for one in known if one.flow in living}
    return set()


def _become(one: Known, ask: Ask) -> Become | None:
    """The state to enter, None if the ask changes nothing."""
    if ask.kind == "cancel":
        return None if one.state in FINAL else "running" if one.state == "running" else "cancelled"
    if ask.kind == "answer":
        return ("succeeded" if ask.error is None else "failed") if one.answerable else None
    if ask.kind == "rerun":
        return ("waiting" if one.kind in WAITING else "ready") if one.over else None
    return "forgotten" if one.state in FINAL else None


def _apply(link: Link, consequences: Consequences, some: Sequence[Known], become: Become, ask: Ask, now: int) -> None:
    seqs = [one.seq for one in some]
    if ask.kind == "cancel":
        consequences.ask_to_end(some, ask.reason)
    elif become == "succeeded" or become == "failed":
        link.run_among(_ANSWER, seqs, become, now, ask.result, error_text(ask.error), ask.reason)
        for one in some:
            consequences.ended(one, become)
    elif ask.kind == "rerun":
        link.run_among(_RERUN, seqs, become, ask.reason)
        consequences.told.add("ready")
    else:
        for statement in _FORGET:
            link.run_among(statement, seqs)
