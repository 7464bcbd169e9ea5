"""Jobs leave ``running``: each by one atomic step, if the fence still holds."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import bindparam, insert, literal_column, null, select, update

from ostinato.model import FINAL, After, Channel, End, Fence, Job, State
from ostinato.rules import way_out
from ostinato_sql.database import Database
from ostinato_sql.dependence import Consequences, Waiter
from ostinato_sql.lane import read_lanes
from ostinato_sql.link import Link
from ostinato_sql.post import insert_jobs
from ostinato_sql.rows import attempt_values, error_text
from ostinato_sql.statement import Keyed, Statement
from ostinato_sql.tables import attempts, is_running, jobs
from ostinato_sql.terms import read_stamp
from ostinato_sql.waits import AWAITED


class Held(Struct):
    """What counts of a job that is to end."""

    id: str
    seq: int
    lane: int
    token: int
    state: str
    cancelling: int
    reason: str
    stepped: bool
    awaited: bool


_HELD = Keyed(
    lambda keys: (
        select(*[jobs.c[name] for name in Held.__struct_fields__[:-1]], AWAITED)
        .where(jobs.c.id.in_(keys))
        .order_by(jobs.c.seq)  # all who lock several jobs do so in this order, and none waits for ever
        .with_for_update()
    )
)
_APPLIED = Keyed(lambda keys: select(attempts.c.job, attempts.c.token).where(attempts.c.job.in_(keys)))
_NAMES = ("state", "priority", "run_at", "charged", "deaths", "ended_at", "reason", "result", "error")
_LEAVE = Statement(
    update(jobs)
    .where(jobs.c.seq == bindparam("which"), jobs.c.token == bindparam("fence"), is_running)
    .ordered_values(
        *[(jobs.c[name], bindparam(f"new_{name}")) for name in _NAMES],
        (jobs.c.lease_until, null()),
        (jobs.c.cancelling, literal_column("0")),
    ),
    *[f"new_{name}" for name in _NAMES],
    "which",
    "fence",
)
_RECORD = Statement(insert(attempts), *attempts.c.keys())


def finish(
    link: Link, database: Database, ends: Sequence[tuple[Fence, End]], now: int
) -> tuple[list[bool], set[Channel]]:
    """Which ends were applied, now or before, and who should hear of it."""
    held = {found[0]: Held(*found) for found in link.among(_HELD, [fence.job_id for fence, _ in ends])}
    left, records, lanes = [], [], set()
    posts: list[Job] = []
    suspended: list[tuple[Waiter, After]] = []
    consequences = Consequences(link, now)
    told = consequences.told
    done: set[tuple[int, int]] = set()
    for fence, end in ends:
        row = held.get(fence.job_id)
        if row is None or row.state != "running" or row.token != fence.token or (row.seq, row.token) in done:
            continue
        done.add((row.seq, row.token))
        state, reason = way_out(end, bool(row.cancelling), row.reason)
        left.append(_left(row, end, state, reason, now))
        records.append(attempt_values(row.seq, row.token, end.attempt))
        if state == end.state:
            posts += end.posts
        row.stepped = row.stepped or any(post.flow == row.id for post in end.posts)
        if state in FINAL:
            consequences.ended(row, state)
        else:
            told.add("ready")
        if state == "blocked":
            waiter = Waiter(row.seq, row.id, "function", row.token, end.run_at, row.awaited, row.stepped)
            suspended.append((waiter, end.after or After(())))
        lanes.add(row.lane)
    link.run_many(_LEAVE, left)
    link.run_many(_RECORD, records)
    created = [posted.id for posted in insert_jobs(link, database, posts, now) if posted.created]
    if created:
        told.add("ready")
    steps = {post.id for post in posts if post.flow is not None}
    consequences.wait(suspended, dict.fromkeys((one for one in created if one in steps), 0))
    consequences.draw()
    if lanes and "ready" not in told and _awaited(link, database, lanes):
        told.add("ready")
    if len(done) < len(ends):
        done |= _applied_before(link, [row.seq for row in held.values()])
    return [(row := held.get(fence.job_id)) is not None and (row.seq, fence.token) in done for fence, _ in ends], told


def _left(row: Held, end: End, state: State, reason: str, now: int) -> tuple[object, ...]:
    ended_at = now if state in FINAL else None
    values = (state, end.priority, end.run_at, end.charged, end.deaths, ended_at, reason)
    return (*values, end.result, error_text(end.error), row.seq, row.token)


def _awaited(link: Link, database: Database, lanes: set[int]) -> bool:
    """Whether a job of one of the lanes, now gone, gave back something that others may wait for."""
    left = list(read_lanes(link, database.lanes, lanes).values())
    return any(one.holds for one in database.terms.of(link, read_stamp(link), left).values())


def _applied_before(link: Link, seqs: Sequence[int]) -> set[tuple[int, int]]:
    """A token is given once, so that an attempt recorded under it is this very end."""
    return {(job, token) for job, token in link.among(_APPLIED, seqs)}
