"""Questions: jobs by any filter, attempts, counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Any, get_args

from sqlalchemy import Integer, Select, bindparam, func, literal_column, select

from ostinato.errors import ConfigError
from ostinato.model import FINAL, Attempt, State
from ostinato.storage import Count, JobQuery, Page
from ostinato_sql.database import Database
from ostinato_sql.lane import read_lanes
from ostinato_sql.link import Link
from ostinato_sql.rows import (
    ATTEMPT_COLUMNS,
    BRIEF,
    SEQ,
    STATE,
    STEPPED,
    WHOLE,
    tag_key,
    to_attempt,
    to_brief_rows,
    to_rows,
)
from ostinato_sql.statement import Keyed, Statement, at_most
from ostinato_sql.tables import attempts, has_ended, in_state, jobs, lanes, tags

_SEVERAL = 500  # ids in one statement
_BY_ID = Keyed(lambda keys: select(*WHOLE).where(jobs.c.id.in_(keys)))
_BRIEF_BY_ID = Keyed(lambda keys: select(*BRIEF).where(jobs.c.id.in_(keys)))
_BRIEF_STEPS = Statement(
    select(*BRIEF)
    .where(jobs.c.flow == bindparam("whose"), jobs.c.seq > bindparam("last"))
    .order_by(jobs.c.seq)
    .limit(bindparam("most", type_=Integer))
    .offset(literal_column("0")),
    "whose",
    "last",
    "most",
)
_EARLIEST = Statement(at_most(1, select(jobs.c.ended_at).where(has_ended).order_by(jobs.c.ended_at)))
_ATTEMPTS = Keyed(
    lambda keys: (
        select(jobs.c.id, *ATTEMPT_COLUMNS)
        .join(jobs, jobs.c.seq == attempts.c.job)
        .where(jobs.c.id.in_(keys))
        .order_by(jobs.c.seq, attempts.c.number)
    )
)
_COUNTS = Statement(select(jobs.c.lane, jobs.c.state, func.count()).group_by(jobs.c.lane, jobs.c.state))


def find(database: Database, query: JobQuery) -> Page:
    if query.limit < 1 or query.ids == ():
        return Page([])
    if _only_ids(query):
        with database.read() as link:
            found = link.among(_BRIEF_BY_ID if query.brief else _BY_ID, query.ids or ())
            states = _known_states(query)
            found = [values for values in found if not states or values[STATE] in states]
            found.sort(key=_seq, reverse=not query.oldest_first)
            if query.brief or not any(values[STEPPED] or values[STATE] == "blocked" for values in found):
                return _page(link, database, query, found)  # by one statement, and lanes never change
    if _only_steps(query):
        with database.read() as link:
            last = _position(query.cursor) if query.cursor is not None else 0
            return _page(link, database, query, link.all(_BRIEF_STEPS, query.flow, last, query.limit + 1))
    with database.read(snapshot=True) as link:
        if _none_ended(link, query):
            return Page([])
        return _page(link, database, query, _search(link, query))


def _page(link: Link, database: Database, query: JobQuery, found: Iterable[Sequence[Any]]) -> Page:
    """Of what was found in order, one more than the limit if there is more."""
    first = list(islice(found, query.limit + 1))
    rows = first[: query.limit]
    make = to_brief_rows if query.brief else to_rows
    return Page(make(link, database.lanes, rows), str(rows[-1][SEQ]) if len(first) > len(rows) else None)


_seq = itemgetter(SEQ)


def _only_ids(query: JobQuery) -> bool:
    """Whether a few jobs are asked for by their ids, and states at most, as handles do all the time."""
    ids = query.ids
    if ids is None or len(ids) > _SEVERAL:
        return False
    plain = JobQuery(
        ids=ids, states=query.states, limit=query.limit, oldest_first=query.oldest_first, brief=query.brief
    )
    return query == plain


def _only_steps(query: JobQuery) -> bool:
    """Whether the steps of a flow are asked for in turn, as its attempts do, page by page."""
    if query.flow is None or not query.brief:
        return False
    return query == JobQuery(flow=query.flow, oldest_first=True, limit=query.limit, cursor=query.cursor, brief=True)


def _search(link: Link, query: JobQuery) -> Iterable[Sequence[Any]]:
    chosen = _filtered(query)
    # Several states are asked for one by one and merged: each then is one walk along an index.
    states: list[str] | list[None] = _known_states(query) or [None]
    lists = [_in_order(_in_state(chosen, state, query), state, query) for state in states]
    if query.ids is not None:
        ids = list(dict.fromkeys(query.ids))
        some = [ids[at : at + _SEVERAL] for at in range(0, len(ids), _SEVERAL)]
        lists = [each.where(jobs.c.id.in_(portion)) for each in lists for portion in some]
    found = [link.composed(each.limit(query.limit + 1)) for each in lists]
    return merge(*found, key=_seq, reverse=not query.oldest_first)


def _filtered(query: JobQuery) -> Select[Any]:
    chosen: Select[Any] = select(*(BRIEF if query.brief else WHOLE))
    if query.cursor is not None:
        last = _position(query.cursor)
        chosen = chosen.where(jobs.c.seq > last if query.oldest_first else jobs.c.seq < last)
    if query.tasks:
        chosen = chosen.where(jobs.c.lane.in_(select(lanes.c.id).where(lanes.c.task.in_(query.tasks))))
    if query.queues:
        chosen = chosen.where(jobs.c.lane.in_(select(lanes.c.id).where(lanes.c.queue.in_(query.queues))))
    if query.tag is not None:
        chosen = chosen.where(jobs.c.seq.in_(select(tags.c.job).where(tags.c.tag == tag_key(query.tag))))
    if query.flow is not None:
        chosen = chosen.where(jobs.c.flow == query.flow)
    if query.executor_id is not None:
        chosen = chosen.where(jobs.c.executor_id == query.executor_id)
    if query.ended_before is not None:
        chosen = chosen.where(jobs.c.ended_at < query.ended_before)
    return chosen


def _position(cursor: str) -> int:
    try:
        return int(cursor)
    except ValueError:
        raise ConfigError(f"{cursor!r} is not a cursor. Give the `next` of the page before, unchanged.") from None


def _known_states(query: JobQuery) -> list[str]:
    states: list[str] = list(dict.fromkeys(query.states))
    for state in states:
        if state not in get_args(State):
            raise ConfigError(f"{state!r} is not a state. Give one of: {', '.join(get_args(State))}.")
    return states


def _in_state(chosen: Select[Any], state: str | None, query: JobQuery) -> Select[Any]:
    """With what the partial index of ended jobs demands, for those that have ended."""
    if state is None:
        return chosen
    if query.flow is not None:  # its steps are the fewer, so that no index by state is to be used
        return chosen.where(func.lower(jobs.c.state) == literal_column(f"'{state}'"))
    return chosen.where(in_state(state), has_ended) if state in FINAL else chosen.where(in_state(state))


def _in_order(chosen: Select[Any], state: str | None, query: JobQuery) -> Select[Any]:
    # Running jobs are few: better sorted than found one by one on a walk along all jobs, which
    # SQLite would choose if it saw that the order is that of its keys.
    key = jobs.c.seq + literal_column("0") if state == "running" else jobs.c.seq
    return chosen.order_by(key.asc() if query.oldest_first else key.desc())


def _none_ended(link: Link, query: JobQuery) -> bool:
    """Retention asks often, and mostly for nothing: one look at an index answers that, where
    the walk along the jobs would pass all that ended later."""
    if query.ended_before is None:
        return False
    earliest = link.first(_EARLIEST)
    return earliest is None or earliest[0] >= query.ended_before


def find_attempts(link: Link, ids: Sequence[str]) -> list[Attempt]:
    return [to_attempt(row[0], row[1:]) for row in link.among(_ATTEMPTS, ids)]


def count(link: Link, database: Database) -> list[Count]:
    totals: Counter[tuple[str, str, int, int, State]] = Counter()
    found = link.all(_COUNTS)
    of = read_lanes(link, database.lanes, (lane for lane, _, _ in found))
    for lane, state, number in found:
        key = of[lane]
        totals[key.queue, key.task, key.version, key.slots, state] += number
    return [
        Count(queue, task, state, number, version, slots)
        for (queue, task, version, slots, state), number in sorted(totals.items())
    ]
