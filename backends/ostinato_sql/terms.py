"""The terms of lanes: which capacities and rates their jobs are bound by.

They are worked out once and remembered for as long as nobody sets a capacity or a rate: then a stamp
in the database changes, which every claim reads along with the rest. Else a thousand lanes that wait
for a key of their own each would cost every claim a look at the limits of a thousand keys.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import literal_column, select

from ostinato.rules import unbounded, units_of
from ostinato.storage import Rate
from ostinato_sql.lane import Lane
from ostinato_sql.link import Link, Values
from ostinato_sql.statement import Keyed, Statement
from ostinato_sql.tables import limits, meta

_MOST = 20_000
"""So many lanes are remembered; then it begins anew."""
_KEY = "limits"
stamp_now = select(meta.c.value).where(meta.c.name == literal_column(f"'{_KEY}'")).scalar_subquery()
_STAMP = Statement(select(stamp_now))
_STAMP_ANEW = Statement(lambda dialect: dialect.insert_or_replace(meta), *meta.c.keys())
WHOLE = select(limits.c.name, limits.c.capacity, limits.c.starts, limits.c.per)
_OF = Keyed(lambda keys: WHOLE.where(limits.c.name.in_(keys)))


class Terms(NamedTuple):
    """``holds`` are the units that a job takes of each set capacity, ``rates`` those of its names. ``shut``:
    a capacity is less than the units that a job takes, so that none can run."""

    holds: Mapping[str, tuple[int, int]]
    rates: Mapping[str, Rate]
    shut: bool

    @property
    def names(self) -> set[str]:
        return {*self.holds, *self.rates}


def read_stamp(link: Link) -> str | None:
    found = link.first(_STAMP)
    return found[0] if found else None


def stamp_anew(link: Link) -> None:
    """Capacities or rates are changed in this transaction."""
    link.run(_STAMP_ANEW, _KEY, uuid.uuid4().hex)


class KnownTerms:
    """The terms of lanes, as of the newest stamp that was met. Two threads may meet different ones: each
    goes on with what belongs to its own."""

    def __init__(self) -> None:
        self._kept: tuple[str | None, dict[int, Terms], set[int]] = (None, {}, set())

    def shut(self, stamp: str | None) -> set[int]:
        """The lanes that are known to be shut."""
        return self._at(stamp)[1]

    def of(self, link: Link, stamp: str | None, lanes: Sequence[Lane]) -> dict[int, Terms]:
        """By the lanes' ids."""
        known, shut = self._at(stamp)
        new = [lane for lane in lanes if lane.id not in known]
        if new:
            terms = _read(link, new)
            known.update(terms)
            shut.update(key for key, one in terms.items() if one.shut)
        return {lane.id: known[lane.id] for lane in lanes}

    def _at(self, stamp: str | None) -> tuple[dict[int, Terms], set[int]]:
        kept, known, shut = self._kept
        if kept != stamp or len(known) > _MOST:
            known, shut = {}, set()
            self._kept = (stamp, known, shut)
        return known, shut


def _read(link: Link, lanes: Sequence[Lane]) -> dict[int, Terms]:
    names = {name for lane in lanes for name in units_of(lane)}
    capacities, rates = sorted_out(link.among(_OF, sorted(names)))
    return {lane.id: _terms(units_of(lane), capacities, rates) for lane in lanes}


def _terms(units: Mapping[str, int], capacities: Mapping[str, int], rates: Mapping[str, Rate]) -> Terms:
    unset = (name for name in units if not unbounded(name))
    bounds = {**dict.fromkeys(unset, 0), **{name: capacities[name] for name in units if name in capacities}}
    return Terms(
        holds={name: (units[name], bound) for name, bound in bounds.items()},
        rates={name: rates[name] for name in units if name in rates},
        shut=any(units[name] > bound for name, bound in bounds.items()),
    )


def sorted_out(found: Sequence[Values]) -> tuple[dict[str, int], dict[str, Rate]]:
    """Capacities and rates."""
    return (
        {name: capacity for name, capacity, _, _ in found if capacity is not None},
        {name: Rate(count, per) for name, _, count, per in found if count is not None},
    )
