"""Lanes: what all jobs have in common that the same executors can take, see `ostinato_sql.tables`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

import msgspec
from msgspec import Struct
from sqlalchemy import select

from ostinato_sql.link import Link
from ostinato_sql.statement import Keyed
from ostinato_sql.tables import lanes

_REMEMBERED = 20_000  # lanes; a hold per customer may make many


class Lane(Struct, frozen=True):
    """What all jobs of a lane have in common; see `ostinato_sql.tables`."""

    id: int
    queue: str
    task: str
    version: int
    slots: int
    holds: tuple[tuple[str, int], ...]


@lru_cache(maxsize=4096)
def lane_of(queue: str, task: str, version: int, slots: int, holds: tuple[tuple[str, int], ...]) -> Lane:
    words = msgspec.json.encode((queue, task, version, slots, holds))
    key = int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "big") >> 1
    return Lane(key, queue, task, version, slots, holds)


def lane_values(lane: Lane) -> tuple[object, ...]:
    """All columns of the lanes' table."""
    return (lane.id, lane.queue, lane.task, lane.version, lane.slots, msgspec.json.encode(lane.holds).decode())


_LANES = Keyed(lambda keys: select(lanes).where(lanes.c.id.in_(keys)))


def read_lanes(link: Link, known: dict[int, Lane], ids: Iterable[int]) -> dict[int, Lane]:
    """The lanes of these ids; ``known`` remembers them, up to a bound."""
    if len(known) > _REMEMBERED:
        known.clear()
    found: dict[int, Lane] = {}
    read: dict[int, Lane] = {}
    missing = []
    for key in set(ids):
        lane = known.get(key)
        if lane is None:
            missing.append(key)
        else:
            found[key] = lane
    for key, queue, task, version, slots, holds in link.among(_LANES, missing):
        pairs = msgspec.json.decode(holds, type=tuple[tuple[str, int], ...])
        read[key] = Lane(key, queue, task, version, slots, pairs)
    if read:
        link.keep(lambda: known.update(read))
    return {**found, **read}
