"""Jobs come in."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Container, Sequence

from msgspec.structs import replace
from sqlalchemy import bindparam, delete, insert, select, update

from ostinato.model import FINAL, Job
from ostinato.storage import Posted, Record
from ostinato_sql import unique, waits
from ostinato_sql.database import Database
from ostinato_sql.dependence import Consequences, Waiter, tie
from ostinato_sql.lane import Lane, lane_of, lane_values
from ostinato_sql.link import Link, Values
from ostinato_sql.rows import (
    LOADED_COLUMNS,
    NEW_COLUMNS,
    TIE_COLUMNS,
    attempt_values,
    is_tied,
    loaded_values,
    new_row,
    tag_key,
    ties,
)
from ostinato_sql.statement import Keyed, Statement
from ostinato_sql.tables import attempts, jobs, lanes, notes, steps, tags

_INSERT = Statement(lambda dialect: dialect.insert_new(jobs), *NEW_COLUMNS)
_INSERT_TIED = Statement(lambda dialect: dialect.insert_new(jobs), *NEW_COLUMNS, *TIE_COLUMNS)
_INSERT_TAGS = Statement(insert(tags), "tag", "job")
_INSERT_LANES = Statement(lambda dialect: dialect.insert_new(lanes), *lanes.c.keys())
_KEPT = ("seq", "id", "position", "posted_at", "front", "awaited", "stepped")
_REPLACED = tuple(name for name in (*NEW_COLUMNS, *TIE_COLUMNS) if name not in _KEPT)
_REPLACE = Statement(
    update(jobs)
    .where(jobs.c.seq == bindparam("which"))
    .ordered_values(*[(jobs.c[name], bindparam(f"new_{name}")) for name in _REPLACED]),
    *[f"new_{name}" for name in _REPLACED],
    "which",
)
_FORGET_TAGS = Statement(delete(tags).where(tags.c.job == bindparam("which")), "which")
_LOAD = Statement(
    update(jobs)
    .where(jobs.c.seq == bindparam("which"))
    .ordered_values(*[(jobs.c[name], bindparam(f"new_{name}")) for name in LOADED_COLUMNS]),
    *[f"new_{name}" for name in LOADED_COLUMNS],
    "which",
)
_LOAD_ATTEMPT = Statement(insert(attempts), *attempts.c.keys())
_LOAD_STEP = Statement(insert(steps), *steps.c.keys())
_LOAD_NOTE = Statement(insert(notes), *notes.c.keys())
KNOWN = Keyed(lambda keys: select(jobs.c.id).where(jobs.c.id.in_(keys)))
_STORED = Keyed(lambda keys: select(jobs.c.seq).where(jobs.c.id.in_(keys)))


Prepare = Callable[[Sequence[Job]], int]


def insert_jobs(
    link: Link, database: Database, batch: Sequence[Job], now: int, prepared: Prepare | None = None
) -> list[Posted]:
    """Store those whose id and unique key are new, in the order given. ``prepared`` does what `prepare`
    does, if that is to be done elsewhere. Raises AlreadyPosted."""
    if not any(job.unique is not None for job in batch):
        return _post(link, database, batch, now, prepared)
    found = unique.sort(link, batch, now)
    for seq, job in found.replaced:
        _replace(link, database, seq, job, now)
    new = [job for _, job in found.new]
    for (at, _), posted in zip(found.new, _post(link, database, new, now, prepared), strict=True):
        found.answers[at] = posted
    return [found.answers[at] for at in range(len(batch))]


def _post(
    link: Link, database: Database, batch: Sequence[Job], now: int, prepared: Prepare | None = None
) -> list[Posted]:
    """Store those whose id is new, and make them wait for what they come after."""
    answers, first = _insert(link, database, batch, now, prepared)
    if any(map(is_tied, batch)):
        made = zip(range(first, first + len(batch)), answers, batch, strict=True)
        _depend(link, [(seq, posted.id, job) for seq, posted, job in made if posted.created], now)
    return answers


def _depend(link: Link, made: Sequence[tuple[int, str, Job]], now: int) -> None:
    """What the new jobs (with their ``seq`` and id) come after, and the flows that they are steps of, hear of
    them."""
    waiting = [
        (Waiter(seq, job_id, job.kind, 0, job.run_at, awaited=True, stepped=False), job.after)
        for seq, job_id, job in made
        if job.after is not None
    ]
    flows = {job.flow for _, _, job in made if job.flow is not None}
    if waiting or flows:
        consequences = Consequences(link, now)
        consequences.wait(waiting, {job_id: seq for seq, job_id, _ in made}, flows)
        consequences.draw()


def prepare(link: Link, database: Database, batch: Sequence[Job]) -> int:
    """The lanes of the jobs, and the ``seq`` of the first of them."""
    _add_lanes(link, database, {_lane(job) for job in batch})
    return database.dialect.reserve(link, len(batch))


def _lane(job: Job) -> Lane:
    return lane_of(job.queue, job.task, job.version, job.slots, job.holds)


def _insert(
    link: Link, database: Database, batch: Sequence[Job], now: int, prepared: Prepare | None = None
) -> tuple[list[Posted], int]:
    """Store those whose id is new, and tell the ``seq`` of the first. An empty id never is somebody else's."""
    if not batch:
        return [], 0
    seq = first = prepared(batch) if prepared else prepare(link, database, batch)
    rows, ids = [], []
    for job in batch:
        job_id = job.id or uuid.uuid4().hex
        ids.append(job_id)
        rows.append(new_row(job, job_id, seq, _lane(job).id, now))
        seq += 1
    created: Container[int] = range(first, seq)
    if _run_insert(link, batch, rows) < len(rows):  # some ids were known
        created = {stored for (stored,) in link.among(_STORED, ids)}
    tagged = [(at, job.tags) for at, job in enumerate(batch, first) if job.tags and at in created]
    link.run_many(_INSERT_TAGS, [(tag_key(tag), at) for at, names in tagged for tag in dict.fromkeys(names)])
    unique.take(link, [(job.unique, at) for at, job in enumerate(batch, first) if at in created])
    return [Posted(job_id, at in created) for at, job_id in enumerate(ids, first)], first


def _run_insert(link: Link, batch: Sequence[Job], rows: list[Values]) -> int:
    if not any(map(is_tied, batch)):
        return link.run_many(_INSERT, rows)
    awaited = {job_id for job in batch if job.after is not None for job_id in job.after.jobs}
    flows = {job.flow for job in batch if job.flow is not None}
    tied = [ties(job, job.id in awaited, job.id in flows) for job in batch]
    return link.run_many(_INSERT_TIED, [(*row, *more) for row, more in zip(rows, tied, strict=True)])


def _replace(link: Link, database: Database, seq: int, job: Job, now: int) -> None:
    """All of a waiting job but its id, when it was posted and its place in line."""
    lane = _lane(job)
    _add_lanes(link, database, {lane})
    row = (*new_row(job, job.id, seq, lane.id, now), *ties(job, awaited=True, stepped=True))
    values = dict(zip((*NEW_COLUMNS, *TIE_COLUMNS), row, strict=True))
    link.run(_REPLACE, *(values[name] for name in _REPLACED), seq)
    link.run(_FORGET_TAGS, seq)
    link.run_many(_INSERT_TAGS, [(tag_key(tag), seq) for tag in dict.fromkeys(job.tags)])
    _depend(link, [(seq, job.id, job)], now)


def load(link: Link, database: Database, records: Sequence[Record], now: int) -> list[bool]:
    """Store jobs of another store, with their attempts."""
    rows = [record.row for record in records]
    posted, first = _insert(link, database, [_keyless(row.job) for row in rows], now)
    answers = [one.created for one in posted]
    loaded = [(record, seq) for seq, (record, new) in enumerate(zip(records, answers, strict=True), first) if new]
    link.run_many(_LOAD, [loaded_values(record.row, seq) for record, seq in loaded])
    ended = [(seq, attempt) for record, seq in loaded for attempt in record.attempts]
    link.run_many(_LOAD_ATTEMPT, [attempt_values(seq, attempt.number, attempt) for seq, attempt in ended])
    noted = [(seq, "progress", record.row.progress) for record, seq in loaded]
    noted += [(seq, "checkpoint", record.row.checkpoint) for record, seq in loaded]
    link.run_many(_LOAD_NOTE, [note for note in noted if note[2] is not None])
    link.run_many(_LOAD_STEP, [(seq, *step) for record, seq in loaded for step in record.row.steps.items()])
    waiting = [(seq, record.row.token, record.row.after) for record, seq in loaded if record.row.after is not None]
    waits.add(link, waiting)
    flows = {record.row.job.flow for record, _ in loaded if record.row.job.flow is not None}
    awaited = {job_id for _, _, after in waiting for job_id in after.jobs}
    known = tie(link, awaited, flows)
    if known.keys() < awaited:
        waits.expect_strays(link)
    Consequences(link, now).look_back({one: state for one, state in known.items() if one in awaited and state in FINAL})
    unique.load(link, [(record.row.job.unique, seq) for record, seq in loaded if record.row.job.unique], now)
    return answers


def _keyless(job: Job) -> Job:
    return replace(job, unique=None) if job.unique else job


def _add_lanes(link: Link, database: Database, used: set[Lane]) -> None:
    new = {lane.id: lane for lane in used if lane.id not in database.lanes}
    if new:
        link.run_many(_INSERT_LANES, [lane_values(new[key]) for key in sorted(new)])
        link.keep(lambda: database.lanes.update(new))
