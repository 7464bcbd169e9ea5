"""Open waits: which blocked jobs wait for which others. They are rows, never a count, so that nothing can
be counted twice or forgotten.

A flow that waits for all of its steps that live, of which there may be very many, has one row: it names one of
them, and when that has ended, another one takes its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace
from sqlalchemy import delete, exists, insert, literal_column, or_, select

from ostinato.model import After
from ostinato_sql.link import Link
from ostinato_sql.statement import Keyed, Statement
from ostinato_sql.tables import jobs, meta, waits

_strays = exists(select(meta.c.name).where(meta.c.name == literal_column("'strays'")))
AWAITED = or_(jobs.c.awaited != literal_column("0"), _strays).label("awaited")
"""Whether others may wait for a job. The flag alone would do, but for `expect_strays`."""
_EXPECT = Statement(lambda dialect: dialect.insert_new(meta), *meta.c.keys())

STEPS = 2
"""In ``first``: such a row."""

_ADD = Statement(insert(waits), *waits.c.keys())
_OF = Keyed(
    lambda keys: (
        select(waits.c.job, waits.c.awaited, waits.c.failure, waits.c.first)
        .where(waits.c.job.in_(keys))
        .order_by(waits.c.job, waits.c.place)
    )
)
_flows, _steps = jobs.alias("flows"), jobs.alias("steps")
_STEPS_OF = Keyed(
    lambda keys: (
        select(_flows.c.seq, _steps.c.id)
        .join(_steps, _steps.c.flow == _flows.c.id)
        .where(_flows.c.seq.in_(keys), _steps.c.ended_at.is_(None))
        .order_by(_flows.c.seq, _steps.c.seq)
    )
)
_END = Keyed(lambda keys: delete(waits).where(waits.c.job.in_(keys)))


def add(link: Link, waiting: Iterable[tuple[int, int, After]]) -> None:
    """The jobs (by ``seq`` and token) wait for all that is named."""
    rows = [
        (awaited, seq, token, place, after.failure, int(after.first))
        for seq, token, after in waiting
        for place, awaited in enumerate(dict.fromkeys(after.jobs))
    ]
    link.run_many(_ADD, rows)


def watch(link: Link, seq: int, token: int, step: str) -> None:
    """The job waits for all of its steps, of which this one has not ended."""
    link.run(_ADD, step, seq, token, 0, "run", STEPS)


def expect_strays(link: Link) -> None:
    """Jobs that came from another store may wait for one that is not here, and is posted later."""
    link.run(_EXPECT, "strays", "")


def end(link: Link, seqs: Iterable[int]) -> None:
    """The jobs wait for nothing any more."""
    link.run_among(_END, seqs)


def read(link: Link, seqs: Sequence[int]) -> dict[int, After]:
    """What each of the jobs still waits for."""
    awaited: dict[int, list[str]] = {}
    rules: dict[int, After] = {}
    watching: list[int] = []
    for seq, job_id, failure, first in link.among(_OF, seqs):
        awaited.setdefault(seq, []).append(job_id)
        rules[seq] = After((), failure, first == 1)
        if first == STEPS:
            watching.append(seq)
    for seq in watching:
        awaited[seq].clear()
    for seq, step in link.among(_STEPS_OF, watching):
        awaited[seq].append(step)
    return {seq: replace(rules[seq], jobs=tuple(ids)) for seq, ids in awaited.items()}
