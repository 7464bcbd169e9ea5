"""What decides whether a job can start, as the store has it; and the words to tell of it.

`look` asks the store; `ostinato.explain` makes reasons of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from msgspec import Struct

from ostinato import host
from ostinato.book import Book
from ostinato.capacities import Paused, pauses, running
from ostinato.model import FINAL, SECOND, ExecutorInfo, Row
from ostinato.rounds import unmet
from ostinato.storage import JobQuery, Rate, Store, TellsPaces
from ostinato.units import moment

LOOK = 200
"""So many of the oldest ready jobs are looked at to see who comes first, and so many of those that it waits for."""
SHOWN = 5


class Situation(Struct, frozen=True, kw_only=True):
    """A job, and all that decides whether it can start. ``paces`` are the used-up rates and when they let
    the next job start (None: the store cannot tell), ``executors`` are those that live, ``ready`` the
    oldest ready jobs in post order, ``more`` whether there are others, ``unmet`` the schedules that leave
    out a round because of it, ``awaited`` the first of the jobs that it waits for."""

    now: int
    row: Row
    limits: Mapping[str, int] = {}
    rates: Mapping[str, Rate] = {}
    paces: Mapping[str, int] | None = None
    paused: Mapping[str, Paused] = {}
    running: Sequence[Row] = ()
    executors: Sequence[ExecutorInfo] = ()
    ready: Sequence[Row] = ()
    more: bool = False
    unmet: Sequence[str] = ()
    awaited: Sequence[Row] = ()


def look(store: Store, row: Row) -> Situation:
    """What `explain` needs to know about a job, as the store has it now."""
    now = store.now()
    if row.state in FINAL or row.state == "running":
        return Situation(now=now, row=row, unmet=unmet(Book(store).read(), row) if row.job.schedule else ())
    if row.state == "waiting":
        return Situation(now=now, row=row)
    ids = row.after.jobs[:LOOK] if row.after is not None else ()
    page = store.find(JobQuery(states=("ready",), oldest_first=True, limit=LOOK)) if row.state == "ready" else None
    return Situation(
        now=now,
        row=row,
        limits=store.limits(),
        rates=store.rates(),
        paces=store.paces() if isinstance(store, TellsPaces) else None,
        paused=pauses(store),
        running=running(store),
        executors=[one for one in store.executors() if one.lease_until > now and not host.is_dead(one)],
        ready=page.rows if page else (),
        more=page is not None and page.next is not None,
        awaited=store.find(JobQuery(ids=ids, oldest_first=True, limit=len(ids))).rows if ids else (),
    )


# words


def label_of(name: str) -> tuple[str, str]:
    """What a capacity bounds, and its name: ``queue:mail`` is the queue mail."""
    kind, colon, label = name.partition(":")
    return (kind, label) if colon else ("resource", name)


def option_of(name: str) -> str:
    kind, label = label_of(name)
    return label if kind == "queue" else f"--{kind} {label}"


def some(names: Sequence[str] | Mapping[str, object]) -> str:
    shown = list(names)[:SHOWN]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(shown)}{more}"


def span(micros: int) -> str:
    """``h:mm:ss``"""
    return str(timedelta(seconds=max(1, round(micros / SECOND))))


def date(at: int) -> str:
    return moment(at).strftime("%Y-%m-%d %H:%M:%S UTC")


def until(at: int, now: int) -> str:
    return f"{date(at)} (in {span(at - now)})" if at > now else f"{date(at)} (now)"
