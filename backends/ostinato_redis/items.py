"""Jobs, records and ends as the scripts take them (see ``scripts/parts``)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from ostinato.model import SECOND, WAITING, After, End, Fence, Job
from ostinato.rules import units_of
from ostinato.storage import Record
from ostinato_redis.rows import encode, json_or_false, or_false, text_or_false

Item = dict[str, Any]
Lane = tuple[str, str, int, int, Mapping[str, int]]
"""Queue, task, version, slots, and the units that a running job holds by name."""


class _Kept(Job, frozen=True, kw_only=True, omit_defaults=True):
    """A job as it is kept: without what every other job has too, and without its id."""


def _words(job: Job) -> str:
    kept = _Kept(**{**asdict(job), "id": ""})
    try:
        return msgspec.json.encode(kept).decode()
    except UnicodeEncodeError:  # lone surrogates, which JSON can write down and UTF-8 cannot
        return json.dumps(msgspec.to_builtins(kept))


@lru_cache(maxsize=4096)
def _lane_name(queue: str, task: str, version: int, slots: int, holds: tuple[tuple[str, int], ...]) -> str:
    """The name of a lane, made of its description."""
    return hashlib.blake2b(encode((queue, task, version, slots, holds)), digest_size=8).hexdigest()


class Batch:
    """Jobs on their way to a script, with the lanes that they will stand in."""

    def __init__(self) -> None:
        self.lanes: dict[str, Lane] = {}

    def items(self, jobs: Iterable[Job]) -> list[Item]:
        return [self._item(job) for job in jobs]

    def _item(self, job: Job) -> Item:
        digest = _lane_name(job.queue, job.task, job.version, job.slots, job.holds)
        self.lanes[digest] = job.queue, job.task, job.version, job.slots, units_of(job)
        item: Item = {
            "id": job.id,
            "job": _words(job),
            "lane": digest,
            "priority": str(job.priority),
            "front": job.front,
            "run_at": str(job.run_at),
        }
        if job.promote_at is not None:
            item["promote_at"] = str(job.promote_at)
        if job.expires_at is not None:
            item["expires_at"] = str(job.expires_at)
        if job.tags:
            item["tags"] = list(dict.fromkeys(job.tags))
        if job.unique is not None:
            item["key"] = job.unique.key
            item["key_until"] = job.unique.until
            item["on_conflict"] = job.unique.on_conflict
            if job.unique.on_conflict == "replace":  # what is said of a place in line is that of the replaced one
                item["in_place"] = [_words(replace(job, front=front)) for front in (False, True)]
            if job.unique.period is not None:
                item["key_period"] = int(job.unique.period * SECOND)
        if job.kind in WAITING:
            item["waits"] = 1
        if job.default is not None:
            item["default"] = job.default
        if job.flow is not None:
            item["flow"] = job.flow
        if job.after is not None:
            item.update(_awaited(job.after))
        return item

    def records(self, records: Iterable[Record]) -> list[Item]:
        """Items of jobs that come from another store."""
        return [self._record(record) for record in records]

    def _record(self, record: Record) -> Item:
        row = record.row
        awaited = _awaited(row.after or After(())) if row.state == "blocked" else {}
        return {**self._item(row.job), **awaited, "steps": row.steps, "fields": _loaded(record)}

    def ends(self, ends: Iterable[tuple[Fence, End]]) -> list[dict[str, Any]]:
        return [
            {
                "id": fence.job_id,
                "token": fence.token,
                "state": end.state,
                "run_at": str(end.run_at),
                "priority": str(end.priority),
                "charged": end.charged,
                "deaths": end.deaths,
                "result": or_false(end.result),
                "error": json_or_false(end.error),
                "reason": end.reason,
                "attempt": end.attempt.number,
                "record": msgspec.json.encode(end.attempt).decode(),
                "posts": self.items(end.posts),
                **(_awaited(end.after or After(())) if end.state == "blocked" else {}),
            }
            for fence, end in ends
        ]


def _loaded(record: Record) -> dict[str, Any]:
    row = record.row
    fields: dict[str, Any] = {
        "state": row.state,
        "priority": str(row.priority),
        "token": row.token,
        "attempt": row.attempt,
        "charged": row.charged,
        "deaths": row.deaths,
        "owner": or_false(row.executor_id),
        "run_at": str(row.run_at),
        "expires_at": text_or_false(row.expires_at),
        "posted": str(row.posted_at),
        "started": text_or_false(row.started_at),
        "ended": text_or_false(row.ended_at),
        "result": or_false(row.result),
        "error": json_or_false(row.error),
        "reason": row.reason,
        "progress": or_false(row.progress),
        "checkpoint": or_false(row.checkpoint),
        "steps": bool(row.steps) and 1,
    }
    for attempt in record.attempts:
        # Under which token it was reported is not told, so that nobody's report is taken for its repetition.
        fields[f"a{attempt.number}"] = f"0 {msgspec.json.encode(attempt).decode()}"
    return fields


def _awaited(after: After) -> Item:
    return {"after": after.jobs, "rule": after.failure + " first" * after.first}
