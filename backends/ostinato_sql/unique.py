"""Unique keys: who holds one, and what a post comes to when somebody does.

A row of `holders` names the job that took a key last. Whether it still holds it follows from the
job itself, so that no way out of a job's life can forget to give a key back. All who post a key
lock its row first, so that of several at once one is the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace
from sqlalchemy import bindparam, delete, select, update

from ostinato.errors import AlreadyPosted, StoreUnavailable
from ostinato.model import Job, State, Unique
from ostinato.rules import holds_key
from ostinato.storage import Posted
from ostinato_sql.link import Link
from ostinato_sql.rows import to_unique
from ostinato_sql.statement import Keyed, Statement
from ostinato_sql.tables import holders, jobs

_LOCK = Statement(lambda dialect: dialect.insert_new(holders), "key", "job")
_HOLDERS = Keyed(
    lambda keys: (
        select(holders.c.key, holders.c.job).where(holders.c.key.in_(keys)).order_by(holders.c.key).with_for_update()
    )
)
_NOBODY = -1
_TRIES = 10
_COLUMNS = (jobs.c.seq, jobs.c.id, jobs.c.state, jobs.c.token, jobs.c.posted_at, jobs.c.uniqueness)
_HOLDING = Keyed(lambda keys: select(*_COLUMNS).where(jobs.c.seq.in_(keys)).order_by(jobs.c.seq).with_for_update())
_KNOWN = Keyed(lambda keys: select(jobs.c.id).where(jobs.c.id.in_(keys)))
_TAKE = Statement(update(holders).where(holders.c.key == bindparam("which")).values(job=bindparam("by")), "by", "which")
_UNIQUE_ONES = Keyed(
    lambda keys: select(*_COLUMNS).where(jobs.c.seq.in_(keys), jobs.c.uniqueness.is_not(None)).order_by(jobs.c.seq)
)
FORGET = Keyed(lambda keys: delete(holders).where(holders.c.job.in_(keys)))


class Holder(NamedTuple):
    """A job as far as it matters who holds a key."""

    seq: int
    id: str
    state: State
    token: int
    posted_at: int
    unique: Unique | None

    def holds(self, now: int) -> bool:
        return self.unique is not None and holds_key(self.unique, self.state, self.token, self.posted_at, now)

    @property
    def replaceable(self) -> bool:
        return self.token == 0 and self.state in ("scheduled", "ready")


class Sorted(NamedTuple):
    """A post, sorted by what becomes of it: jobs to insert (with their place in the batch), jobs
    that take over waiting ones (by ``seq``), and the answers that are known already."""

    new: list[tuple[int, Job]]
    replaced: list[tuple[int, Job]]
    answers: dict[int, Posted]


def sort(link: Link, batch: Sequence[Job], now: int) -> Sorted:
    """Decide about each job that has a key. Raises AlreadyPosted."""
    held = _lock(link, (job.unique.key for job in batch if job.unique is not None))
    known = {found for (found,) in link.among(_KNOWN, [job.id for job in batch if job.unique is not None])}
    found = Sorted([], [], {})
    for at, job in enumerate(batch):
        if job.unique is None or job.id in known:
            found.new.append((at, job))
            continue
        holder = held.get(job.unique.key)
        if holder is None or not holder.holds(now):
            held[job.unique.key] = Holder(_NOBODY, job.id, "ready", 0, now, job.unique)
            known.add(job.id)
            found.new.append((at, job))
            continue
        if job.unique.on_conflict == "raise":
            raise AlreadyPosted(job.unique.key, holder.id)
        if job.unique.on_conflict == "replace" and holder.replaceable:
            _replace(found, holder, job)
        found.answers[at] = Posted(holder.id, False)
    return found


def _replace(found: Sorted, holder: Holder, job: Job) -> None:
    if holder.seq != _NOBODY:
        found.replaced.append((holder.seq, replace(job, id=holder.id)))
        return
    for place, (at, new) in enumerate(found.new):  # posted by the same call
        if new.id == holder.id:
            found.new[place] = (at, replace(job, id=holder.id, front=new.front))


def take(link: Link, keys: Iterable[tuple[Unique | None, int]]) -> None:
    """These jobs (by ``seq``) hold their keys from now on."""
    link.run_many(_TAKE, [(seq, unique.key) for unique, seq in keys if unique is not None])


def free_to_rerun(link: Link, seqs: Sequence[int], now: int) -> set[int]:
    """Those of the ended jobs whose keys nobody else holds; they take them back."""
    wanting = [_holder(values) for values in link.among(_UNIQUE_ONES, seqs)]
    held = _lock(link, (one.unique.key for one in wanting if one.unique is not None))
    refused = set()
    for one in wanting:
        assert one.unique is not None  # noqa: S101 - the query says so
        other = held.get(one.unique.key)
        if other is not None and other.seq != one.seq and other.holds(now):
            refused.add(one.seq)
            continue
        held[one.unique.key] = one._replace(state="ready")
        take(link, [(one.unique, one.seq)])
    return set(seqs) - refused


def load(link: Link, loaded: Sequence[tuple[Unique, int]], now: int) -> None:
    """Jobs of another store hold their keys here, unless somebody does."""
    held = _lock(link, (unique.key for unique, _ in loaded))
    for unique, seq in loaded:
        holder = held.get(unique.key)
        if holder is None or not holder.holds(now):
            take(link, [(unique, seq)])
            held.update(_lock(link, [unique.key]))


def _lock(link: Link, wanted: Iterable[str]) -> dict[str, Holder]:
    """Lock the rows of the keys, and tell who took them last."""
    keys = sorted(set(wanted))
    if not keys:
        return {}
    owners: dict[str, int] = {}
    for _ in range(_TRIES):
        link.run_many(_LOCK, [(key, _NOBODY) for key in keys])
        owners = dict(link.among(_HOLDERS, keys))
        if len(owners) == len(keys):
            break
    else:  # forgotten just between, again and again
        raise StoreUnavailable(f"The unique keys {', '.join(keys)} cannot be locked. Post again.")
    found = {values[0]: _holder(values) for values in link.among(_HOLDING, owners.values())}
    return {key: found[seq] for key, seq in owners.items() if seq in found}


def _holder(values: Sequence[object]) -> Holder:
    seq, job_id, state, token, posted_at, uniqueness = values
    return Holder(seq, job_id, state, token, posted_at, to_unique(uniqueness))  # type: ignore[arg-type]
