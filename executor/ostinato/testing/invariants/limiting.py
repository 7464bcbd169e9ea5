"""Limits that change, pauses among them: what is started while one is in force stays within it.

Told by the clock of the store, which has the time of every job's newest start, and by when clients had their answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from ostinato.rules import units_of
from ostinato.storage import Record
from ostinato.testing.history import Call, History, Kept, Seen
from ostinato.testing.invariants import Violation
from ostinato.testing.story import Story

ANY = 1 << 62
"""More than there ever is: no bound."""


class _Start(Struct, frozen=True):
    """The newest start of a job, and until when it surely held its units (0: not known)."""

    at: int
    until: int
    units: int
    record: Record


def limits_over_time(history: History, stories: dict[str, Story]) -> Iterator[Violation]:
    """Nothing is started over a limit that is in force just then; nothing at all while it is paused (0)."""
    slack = history.facts.slack
    for name in sorted({name for call in history.calls for name in call.limits}):
        settings = [call for call in history.calls if name in call.limits and call.outcome != "failed"]
        first = history.facts.capacities.get(name, ANY)
        starts = [start for record in history.kept if (start := _start(record, name)) is not None]
        for one in starts:
            most = _loosest(settings, name, first, one.at - slack, one.at + slack)
            held = [other for other in starts if other.at < one.at - slack and other.until > one.at + slack]
            used = one.units + sum(other.units for other in held)
            if used > most:
                said = f"it was started as unit {used} of {name!r}, of which there were {most} just then"
                seen: list[Seen] = [call for call in settings if call.began <= one.at]
                seen += [Kept(other.record) for other in (one, *held)]
                yield Violation("limits over time", one.record.row.job.id, said, tuple(seen))
                return


def _start(record: Record, name: str) -> _Start | None:
    row = record.row
    units = units_of(row.job).get(name, 0)
    if row.started_at is None or not units:
        return None
    ended = [one.ended_at for one in record.attempts if one.number == row.attempt]
    return _Start(row.started_at, ended[0] if ended else 0, units, record)


def _loosest(settings: Sequence[Call], name: str, first: int, begin: int, end: int) -> int:
    """The most that may have been allowed at some time between these."""
    done = [call for call in settings if call.outcome == "ok" and call.ended <= begin]
    allowed = [] if done else [first]
    for call in settings:
        replaced = call.outcome == "ok" and any(later.began > call.ended for later in done)
        if call.began <= end and not replaced:
            most = call.limits[name]
            allowed.append(ANY if most is None else most)
    return max(allowed)
