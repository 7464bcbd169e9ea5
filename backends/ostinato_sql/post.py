"""Jobs come in."""

from __future__ import annotations

import uuid
from collections.abc import Container, Sequence

from sqlalchemy import insert, select

from ostinato.model import Job
from ostinato.storage import Posted
from ostinato_sql.database import Database
from ostinato_sql.link import Link
from ostinato_sql.rows import NEW_COLUMNS, Lane, lane_of, lane_values, new_row
from ostinato_sql.statement import Keyed, Statement
from ostinato_sql.tables import jobs, lanes, tags, ticks

_INSERT = Statement(lambda dialect: dialect.insert_new(jobs), *NEW_COLUMNS)
_INSERT_TAGS = Statement(insert(tags), "tag", "job")
_INSERT_LANES = Statement(lambda dialect: dialect.insert_new(lanes), *lanes.c.keys())
_INSERT_TICK = Statement(lambda dialect: dialect.insert_new(ticks), *ticks.c.keys())
_STORED = Keyed(lambda keys: select(jobs.c.seq).where(jobs.c.id.in_(keys)))


def insert_jobs(link: Link, database: Database, batch: Sequence[Job], now: int) -> list[Posted]:
    """Store those whose id is new, in the order given. An empty id never is somebody else's."""
    seq = first = database.dialect.reserve(link, len(batch))
    rows, used, ids = [], set(), []
    for job in batch:
        job_id = job.id or uuid.uuid4().hex
        lane = lane_of(job.queue, job.task, job.version, job.slots, job.holds)
        ids.append(job_id)
        used.add(lane)
        rows.append(new_row(job, job_id, seq, lane.id, now))
        seq += 1
    _add_lanes(link, database, used)
    created: Container[int] = range(first, seq)
    if link.run_many(_INSERT, rows) < len(rows):  # some ids were known
        created = {stored for (stored,) in link.among(_STORED, ids)}
    tagged = [(at, job.tags) for at, job in enumerate(batch, first) if job.tags and at in created]
    link.run_many(_INSERT_TAGS, [(tag, at) for at, names in tagged for tag in dict.fromkeys(names)])
    return [Posted(job_id, at in created) for at, job_id in enumerate(ids, first)]


def _add_lanes(link: Link, database: Database, used: set[Lane]) -> None:
    new = [lane for lane in used if lane.id not in database.lanes]
    if new:
        link.run_many(_INSERT_LANES, [lane_values(lane) for lane in new])
        database.lanes.update({lane.id: lane for lane in new})


def insert_tick(link: Link, schedule: str, due: int) -> bool:
    """Whether (schedule, due) is new."""
    return link.run(_INSERT_TICK, schedule, due) > 0
