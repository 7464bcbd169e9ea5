"""The store: each verb is one script, that is one round trip and one atomic step."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ostinato.errors import AlreadyPosted, StoreCorrupt, StoreError, StoreUnavailable
from ostinato.model import SECOND, Attempt, Channel, End, ExecutorInfo, Fence, Job, Row
from ostinato.storage import (
    NO_RATES,
    Ask,
    Changed,
    Claimed,
    Count,
    Entry,
    JobQuery,
    Listener,
    Note,
    Page,
    Posted,
    Rate,
    Record,
    Renewal,
    Rescue,
    Want,
)
from ostinato_redis.address import Address
from ostinato_redis.health import Health
from ostinato_redis.items import Batch
from ostinato_redis.rows import (
    ask_words,
    decode,
    encode,
    entry_words,
    info_text,
    limit_words,
    to_attempt,
    to_brief_row,
    to_entries,
    to_info,
    to_mapping,
    to_rate,
    to_row,
)
from ostinato_redis.script import script
from ostinato_redis.server import DataLost, Server
from ostinato_redis.subscription import Subscriptions
from ostinato_redis.wake import Waker

log = logging.getLogger("ostinato.redis")

SCHEMA = 1
_FRESH = 30.0
"""Seconds for which our idea of the server's clock is good."""


class RedisStore:
    """`ostinato.storage.Store` on Redis or Valkey. After a fork the child must not use it.

    A mark beside the data tells it from all other data. When it is gone, the data is too: the next
    verb says so once, and then goes on with what is there.
    """

    def __init__(self, address: Address, clock: Callable[[], int] | None = None) -> None:
        self.durable = "what the server is configured for; it is known once the store is open"
        self._clock = clock
        self._server = Server(address)
        self._waker: Waker | None = None
        self._lock = threading.Lock()
        self._mark = ""
        self._time: tuple[int, float] | None = None  # the server's, and ours when it was told
        self._subscriptions = Subscriptions()

    def open(self) -> None:
        """Raises ConfigError too: if the URL asks for what the server cannot do."""
        if self._waker is not None:
            return
        self._server.connect()
        try:
            health = Health(self._server)
            self._mark = self._find_mark()
        except BaseException:
            self._server.close()
            raise
        self.durable = health.durable
        health.tell()
        self._waker = Waker(self._server)

    def _find_mark(self) -> str:
        """The mark of the data that is there; set if there is none yet."""
        own = self._server.address.own
        self._server.ask_key("HSETNX", own, "store", secrets.token_hex(8))
        self._server.ask_key("HSETNX", own, "schema", SCHEMA)
        mark, schema = self._server.ask_key("HMGET", own, "store", "schema")
        if int(schema) != SCHEMA:
            raise StoreCorrupt(
                f"The store {own} at {self._server.address.place} has schema version {int(schema)}, but this Ostinato "
                f"reads version {SCHEMA}: it was written by a newer release. Upgrade with: pip install -U ostinato."
            )
        return str(mark.decode())

    def close(self) -> None:
        waker, self._waker = self._waker, None
        if waker is not None:
            waker.close()
        self._server.close()

    def now(self) -> int:
        if self._clock is not None:
            return self._clock()
        known = self._time
        if known is None or time.monotonic() - known[1] > _FRESH:
            before = time.monotonic()
            seconds, micros = self._server.ask("TIME")
            known = self._time = int(seconds) * SECOND + int(micros), (before + time.monotonic()) / 2
        return known[0] + int((time.monotonic() - known[1]) * SECOND)

    def _run(self, verb: str, told: object, lasting: bool = False) -> Any:
        """``lasting``: it must survive whatever ``durability`` asks for. A claim or a sign of life need not: who
        made it is gone after a crash."""
        now = str(self._clock()) if self._clock is not None else ""
        known = self._mark
        try:
            return decode(self._server.run(script(verb), [known, now, encode(told)], lasting))
        except DataLost:
            raise self._lost(known) from None

    def _lost(self, known: str) -> StoreError:
        place = self._server.address.place
        with self._lock:
            if self._mark == known:
                self._mark = self._find_mark()
                log.error("the jobs at %s are gone; going on without them", place)
        return StoreError(
            f"The jobs at {place} are gone: it was flushed (FLUSHALL, FLUSHDB), restarted without its data, or "
            "restored from another copy. Nothing was done now; from here on what is posted is kept again. Post what is "
            "missing, and see that the server keeps its data: set appendonly yes and maxmemory-policy noeviction."
        )

    # in

    def post(self, jobs: Sequence[Job]) -> list[Posted]:
        if not jobs:
            return []
        batch = Batch()
        told = {"jobs": batch.items(jobs), "lanes": batch.lanes}
        return _posted(*self._run("post", told, lasting=True))

    def post_and_claim(self, jobs: Sequence[Job], executor_id: str, want: Want) -> tuple[list[Posted], Claimed]:
        batch = Batch()
        told = {"jobs": batch.items(jobs), "lanes": batch.lanes, "want": self._wanted(executor_id, want)}
        answers, conflict, *rest = self._run("post_and_claim", told, lasting=True)
        posted = _posted(answers, conflict)
        now, next_at, rows = rest
        return posted, Claimed(rows=[to_row(row) for row in rows], now=now, next_at=next_at or None)

    def load(self, records: Sequence[Record]) -> list[bool]:
        if not records:
            return []
        batch = Batch()
        answers: list[bool] = self._run("load", {"jobs": batch.records(records), "lanes": batch.lanes}, lasting=True)
        return answers

    def tick(self, schedule: str, due: int, jobs: Sequence[Job]) -> bool:
        batch = Batch()
        told = {"schedule": schedule, "due": str(due), "jobs": batch.items(jobs), "lanes": batch.lanes}
        won, conflict = self._run("tick", told, lasting=True)
        if conflict:
            raise AlreadyPosted(*conflict)
        return bool(won)

    def ticks(self) -> dict[str, int]:
        return to_mapping(self._run("ticks", ()), int)

    def limit(self, capacities: Mapping[str, int | None], rates: Mapping[str, Rate | None] = NO_RATES) -> None:
        self._run("limit", limit_words(capacities, rates), lasting=True)

    def limits(self) -> dict[str, int]:
        return to_mapping(self._run("limits", ()), int)

    def rates(self) -> dict[str, Rate]:
        return to_mapping(self._run("rates", ()), to_rate)

    def paces(self) -> dict[str, int]:
        """See `ostinato.storage.TellsPaces`."""
        return dict(self._run("paces", ()))

    def keep(self, entries: Sequence[Entry]) -> list[bool]:
        if not entries:
            return []
        answers: list[bool] = self._run("keep", [entry_words(entry) for entry in entries], lasting=True)
        return answers

    def entries(self, kind: str) -> list[Entry]:
        return to_entries(kind, self._run("entries", kind))

    # the loop

    def claim(self, executor_id: str, want: Want) -> Claimed:
        expired: list[Row] = []
        while True:
            now, next_at, gone, rows, unheard, more = self._run("claim", self._wanted(executor_id, want))
            expired += [to_row(row) for row in gone]
            if unheard:
                self._subscriptions.learn(want.queues, unheard)
            elif not more:
                taken = [to_row(row) for row in rows]
                return Claimed(rows=taken, now=now, next_at=next_at or None, expired=expired)

    def _wanted(self, executor_id: str, want: Want) -> dict[str, Any]:
        return {
            "owner": executor_id,
            "tasks": want.tasks,
            "queues": self._subscriptions.known(want.queues),
            "globs": self._subscriptions.open_ended(want.queues),
            "slots": want.slots,
            "capacity": want.capacity,
            "count": want.count,
            "lease": want.lease,
        }

    def renew(self, executor: ExecutorInfo, fences: Sequence[Fence], lease: int) -> Renewal:
        told = {
            "id": executor.id,
            "info": info_text(executor),
            "lease": lease,
            "fences": [(fence.job_id, fence.token) for fence in fences],
        }
        now, lost, cancelling, peers = self._run("renew", told)
        return Renewal(
            now=now,
            lost=[fences[at - 1] for at in lost],
            cancelling=[fences[at - 1] for at in cancelling],
            peers=[to_info(peer) for peer in peers],
        )

    def note(self, notes: Sequence[Note]) -> list[bool]:
        if not notes:
            return []
        told = [(note.job_id, note.token, note.attempt, note.key, note.value, note.name) for note in notes]
        answers: list[bool] = self._run("note", told, lasting=True)
        return answers

    def finish(self, ends: Sequence[tuple[Fence, End]]) -> list[bool]:
        if not ends:
            return []
        batch = Batch()
        told = {"ends": batch.ends(ends), "lanes": batch.lanes}
        answers, conflict = self._run("finish", told, lasting=True)
        if conflict:
            raise AlreadyPosted(*conflict)
        return list(answers)

    def rescue(self, executor_id: str, want: Rescue) -> list[Row]:
        told = {"owner": executor_id, "dead": dict.fromkeys(want.dead, True), "count": want.count, "lease": want.lease}
        return [to_row(row, former) for former, row in self._run("rescue", told)]

    # from outside

    def change(self, ids: Sequence[str], ask: Ask) -> list[Changed]:
        if not ids:
            return []
        answers = self._run("change", {"ids": list(ids), **ask_words(ask)}, lasting=True)
        return [
            Changed(job_id, before or None, after or None) for job_id, (before, after) in zip(ids, answers, strict=True)
        ]

    def find(self, query: JobQuery) -> Page:
        """In steps, each of which looks at a bounded number of jobs."""
        told: dict[str, Any] = {
            "states": query.states,
            "tasks": query.tasks,
            "queues": query.queues,
            "oldest_first": query.oldest_first,
            "brief": query.brief,
            "limit": query.limit + 1,  # one more than asked for tells whether there are more
        }
        optional = {
            "ids": None if query.ids is None else list(dict.fromkeys(query.ids)),
            "tag": query.tag,
            "flow": query.flow,
            "owner": query.executor_id,
            "ended_before": query.ended_before,
            "after": None if query.cursor is None else int(query.cursor),
        }
        told.update((name, value) for name, value in optional.items() if value is not None)
        found: list[Any] = []
        ends = False
        while not ends and len(found) <= query.limit:
            rows, told["after"], ends = self._run("find", {**told, "limit": query.limit + 1 - len(found)})
            found += rows
        more = len(found) > query.limit
        del found[query.limit :]
        make = to_brief_row if query.brief else to_row
        return Page([make(row) for _, row in found], str(found[-1][0]) if more and found else None)

    def attempts(self, job_ids: Sequence[str]) -> list[Attempt]:
        found = self._run("attempts", list(dict.fromkeys(job_ids)))
        return [to_attempt(recorded, log_url) for ends in found for recorded, log_url in ends]

    def executors(self) -> list[ExecutorInfo]:
        return [to_info(info) for info in self._run("executors", ())]

    def count(self) -> list[Count]:
        totals: dict[tuple[Any, ...], int] = {}
        for *kind, jobs in self._run("count", ()):
            totals[tuple(kind)] = totals.get(tuple(kind), 0) + jobs
        return [
            Count(queue, task, state, jobs, version, slots)
            for (queue, task, version, slots, state), jobs in sorted(totals.items())
        ]

    # waking

    def listen(self, channels: frozenset[Channel]) -> Listener:
        waker = self._waker
        if waker is None:
            place = self._server.address.place
            raise StoreUnavailable(f"The store at {place} is not open. Call open() before listen().")
        return waker.listen(channels)


def _posted(answers: Any, conflict: Any) -> list[Posted]:
    if conflict:
        raise AlreadyPosted(*conflict)
    return [Posted(job_id, created) for job_id, created in answers]
