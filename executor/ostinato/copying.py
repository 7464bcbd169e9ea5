"""Copy a whole store into another: every job as it is, with its attempts, and the limits.

The source is left as it was, but for jobs that a dead executor had left running: they are rescued
there first, since a run cannot move. A copy that was cut off is simply made again: jobs that are
there already stay as they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from ostinato import clock, host
from ostinato.errors import ConfigError, StoreCorrupt
from ostinato.lifecycle import decide, lost
from ostinato.model import SECOND, Attempt, Row
from ostinato.storage import JobQuery, Record, Rescue, Store

PAGE = 500
KINDS = ("schedule", "paused", "key")
"""The entries that are copied."""
WHO = "ostinato.copy"


class Copied(Struct, frozen=True):
    """How many jobs were copied, and how many were there before."""

    jobs: int = 0
    known: int = 0
    attempts: int = 0


def copy(source: Store, target: Store, told: Callable[[Copied], None]) -> Copied:
    """Copy everything, and compare each page with what the target then holds.

    ``told`` is called after each page. Raises ConfigError while executors work on the source.
    """
    _refuse_living(source)
    _rescue(source)
    copied, cursor = Copied(), None
    while True:
        page = source.find(JobQuery(oldest_first=True, limit=PAGE, cursor=cursor))
        records = _records(source, page.rows)
        new = target.load(records)
        _compare([one for one, is_new in zip(records, new, strict=True) if is_new], target)
        copied = Copied(
            copied.jobs + sum(new),
            copied.known + len(new) - sum(new),
            copied.attempts + sum(len(one.attempts) for one, is_new in zip(records, new, strict=True) if is_new),
        )
        told(copied)
        cursor = page.next
        if cursor is None:
            break
    target.limit(source.limits(), source.rates())
    _copy_schedules(source, target)
    return copied


def _copy_schedules(source: Store, target: Store) -> None:
    """And what else is kept beside the jobs. What is there already stays as it is."""
    for kind in KINDS:
        target.keep([replace(entry, version=0) for entry in source.entries(kind)])
    for name, due in source.ticks().items():
        target.tick(name, due, [])


def _refuse_living(source: Store) -> None:
    now = source.now()
    living = [one for one in source.executors() if one.lease_until > now and not host.is_dead(one)]
    if living:
        names = ", ".join(f"{one.name} (process {one.pid})" for one in living[:5])
        raise ConfigError(
            f"{len(living)} executors still work on the source: {names}. What they do now would be missing from the "
            "copy, or be done twice. Stop them, copy, and start them on the new store."
        )


def _rescue(source: Store) -> None:
    """Nobody runs these any more: they end as lost, as any executor would end them."""
    while True:
        owners = {row.executor_id or "" for row in source.find(JobQuery(states=("running",), limit=PAGE)).rows}
        rows = source.rescue(WHO, Rescue(dead=tuple(owners - {WHO}), count=PAGE, lease=60 * SECOND)) if owners else []
        if not rows:
            return
        source.finish([(row.fence, decide(row, lost(row, clock.now()), source.now())) for row in rows])


def _records(source: Store, rows: list[Row]) -> list[Record]:
    of: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in source.attempts([row.job.id for row in rows]):
        of[attempt.job_id].append(attempt)
    return [Record(row, tuple(of[row.job.id])) for row in rows]


def _compare(records: list[Record], target: Store) -> None:
    rows = target.find(JobQuery(ids=tuple(one.row.job.id for one in records), limit=PAGE)).rows if records else []
    there = {one.row.job.id: one for one in _records(target, rows)}
    for record in records:
        if there.get(record.row.job.id) != record:
            raise StoreCorrupt(
                f"Job {record.row.job.id} is not the same in the target as in the source, so the copy cannot be "
                "trusted. The source is unchanged; please report this with both versions of the job."
            )
