"""Entries, and how far each schedule has come: documents that belong to no job."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, literal_column, select, update

from ostinato.storage import Entry
from ostinato_sql.link import Link
from ostinato_sql.statement import Statement
from ostinato_sql.tables import entries, ticks

_ALL = Statement(
    select(entries.c.name, entries.c.value, entries.c.version).where(entries.c.kind == bindparam("of")), "of"
)
_ADD = Statement(lambda dialect: dialect.insert_new(entries), *entries.c.keys())
_is_it = (
    entries.c.kind == bindparam("of"),
    entries.c.name == bindparam("which"),
    entries.c.version == bindparam("known"),
)
_CHANGE = Statement(
    update(entries)
    .where(*_is_it)
    .ordered_values((entries.c.value, bindparam("new")), (entries.c.version, entries.c.version + literal_column("1"))),
    "new",
    "of",
    "which",
    "known",
)
_REMOVE = Statement(delete(entries).where(*_is_it), "of", "which", "known")
_THERE = Statement(
    select(entries.c.version).where(entries.c.kind == bindparam("of"), entries.c.name == bindparam("which")),
    "of",
    "which",
)
_TICKS = Statement(select(ticks.c.schedule, ticks.c.due))
_FIRST_TICK = Statement(lambda dialect: dialect.insert_new(ticks), *ticks.c.keys())
_NEXT_TICK = Statement(
    update(ticks)
    .where(ticks.c.schedule == bindparam("which"), ticks.c.due < bindparam("before"))
    .ordered_values((ticks.c.due, bindparam("new"))),
    "new",
    "which",
    "before",
)


def keep(link: Link, written: Sequence[Entry]) -> list[bool]:
    """In the order of their names, so that two who write several do not wait for each other."""
    order = sorted(range(len(written)), key=lambda at: (written[at].kind, written[at].name, at))
    answers = {at: _keep(link, written[at]) for at in order}
    return [answers[at] for at in range(len(written))]


def _keep(link: Link, one: Entry) -> bool:
    if one.version == 0:
        if one.value is None:
            return link.first(_THERE, one.kind, one.name) is None
        return link.run(_ADD, one.kind, one.name, one.value, 1) > 0
    if one.value is None:
        return link.run(_REMOVE, one.kind, one.name, one.version) > 0
    return link.run(_CHANGE, one.value, one.kind, one.name, one.version) > 0


def read(link: Link, kind: str) -> list[Entry]:
    return sorted(
        (Entry(kind, name, value, version) for name, value, version in link.all(_ALL, kind)),
        key=lambda one: one.name,
    )


def tick(link: Link, schedule: str, due: int) -> bool:
    """Whether the schedule has not come so far before."""
    return link.run(_FIRST_TICK, schedule, due) > 0 or link.run(_NEXT_TICK, due, schedule, due) > 0


def newest_ticks(link: Link) -> dict[str, int]:
    return dict(link.all(_TICKS))
