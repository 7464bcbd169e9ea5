"""Between the values of the seam and what the scripts take and answer (see ``scripts/parts``)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from msgspec.structs import asdict, force_setattr, replace

from ostinato.errors import PayloadError
from ostinato.model import SECOND, Attempt, End, Error, ExecutorInfo, Fence, Job, Row
from ostinato.rules import units_of
from ostinato.storage import Entry, Rate, Record

FIELDS = (
    "job",
    "state",
    "priority",
    "token",
    "attempt",
    "charged",
    "deaths",
    "owner",
    "lease",
    "run_at",
    "expires_at",
    "posted",
    "started",
    "ended",
    "cancelling",
    "result",
    "error",
    "reason",
    "progress",
    "checkpoint",
)
"""The fields of a job's hash that make its row, in the order in which the scripts answer them."""

Value = TypeVar("Value")
Item = dict[str, Any]
Lane = tuple[str, str, int, int, Mapping[str, int]]
"""Queue, task, version, slots, and the units that a running job holds by name."""


class _Kept(Job, frozen=True, kw_only=True, omit_defaults=True):
    """A job as it is kept: without what every other job has too, and without its id."""


def encode(value: object) -> bytes:
    """MessagePack for a script. Raises PayloadError for what is no text in any encoding."""
    try:
        return msgspec.msgpack.encode(value)
    except UnicodeEncodeError as error:
        raise PayloadError(
            f"{error.object[error.start : error.end]!a} is half of a character (a lone surrogate), which a Redis "
            "store keeps only within the arguments of a job. Remove it."
        ) from None


decode = msgspec.msgpack.decode


def _words(job: Job) -> str:
    kept = _Kept(**{**asdict(job), "id": ""})
    try:
        return msgspec.json.encode(kept).decode()
    except UnicodeEncodeError:  # lone surrogates, which JSON can write down and UTF-8 cannot
        return json.dumps(msgspec.to_builtins(kept))


def _to_job(words: str, job_id: str) -> Job:
    try:
        job = msgspec.json.decode(words, type=Job)
    except msgspec.DecodeError:
        job = msgspec.convert(json.loads(words), Job)
    force_setattr(job, "id", job_id)
    return job


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
        return item

    def records(self, records: Iterable[Record]) -> list[Item]:
        """Items of jobs that come from another store."""
        return [{**self._item(record.row.job), "fields": _loaded(record)} for record in records]

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
                "result": _or_false(end.result),
                "error": _json(end.error),
                "reason": end.reason,
                "attempt": end.attempt.number,
                "record": msgspec.json.encode(end.attempt).decode(),
                "posts": self.items(end.posts),
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
        "owner": _or_false(row.executor_id),
        "run_at": str(row.run_at),
        "expires_at": _text(row.expires_at),
        "posted": str(row.posted_at),
        "started": _text(row.started_at),
        "ended": _text(row.ended_at),
        "result": _or_false(row.result),
        "error": _json(row.error),
        "reason": row.reason,
        "progress": _or_false(row.progress),
        "checkpoint": _or_false(row.checkpoint),
    }
    for attempt in record.attempts:
        # Under which token it was reported is not told, so that nobody's report is taken for its repetition.
        fields[f"a{attempt.number}"] = f"0 {msgspec.json.encode(attempt).decode()}"
    return fields


def _or_false(value: Any) -> Any:
    """Lua tables cannot hold nil."""
    return False if value is None else value


def _text(number: int | None) -> str | bool:
    """Of a time that somebody chose: Lua's numbers are exact up to the year 2255 only."""
    return False if number is None else str(number)


def _json(value: Error | Rate | None) -> str | bool:
    return False if value is None else msgspec.json.encode(value).decode()


def _number(text: str | bool) -> int | None:
    return None if text is False else int(text)


def to_row(values: Sequence[Any], owner: str | None = None) -> Row:
    """The seam's row; ``owner`` stands in for the one it has now if given."""
    (job_id, job, state, priority, token, attempt, charged, deaths, now_owned_by, lease, run_at, expires_at) = values[
        :12
    ]
    (posted, started, ended, cancelling, result, error, reason, progress, checkpoint) = values[12:]
    return Row(
        job=_to_job(job, job_id),
        state=state,
        priority=int(priority),
        token=int(token),
        attempt=int(attempt),
        charged=int(charged),
        deaths=int(deaths),
        executor_id=owner or now_owned_by or None,
        lease_until=_number(lease),
        run_at=int(run_at),
        expires_at=_number(expires_at),
        posted_at=int(posted),
        started_at=_number(started),
        ended_at=_number(ended),
        cancelling=cancelling is not False,
        result=None if result is False else result,
        error=None if error is False else msgspec.json.decode(error, type=Error),
        reason=reason or "",
        progress=None if progress is False else progress,
        checkpoint=None if checkpoint is False else checkpoint,
    )


def to_attempt(recorded: str, log: str | bool) -> Attempt:
    attempt = msgspec.json.decode(recorded.partition(" ")[2], type=Attempt)
    if log is not False:
        force_setattr(attempt, "log", log)
    return attempt


def info_text(executor: ExecutorInfo) -> str:
    return msgspec.json.encode(executor).decode()


def to_info(told: Sequence[Any]) -> ExecutorInfo:
    seen_at, lease_until, text = told
    info = msgspec.json.decode(text, type=ExecutorInfo)
    force_setattr(info, "seen_at", seen_at)
    force_setattr(info, "lease_until", lease_until)
    return info


def to_mapping(flat: Sequence[str], to_value: Callable[[str], Value]) -> dict[str, Value]:
    """Of the fields and values of a hash."""
    return {name: to_value(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}


def to_rate(text: str) -> Rate:
    return msgspec.json.decode(text, type=Rate)


def to_entries(kind: str, flat: Sequence[str]) -> list[Entry]:
    kept = to_mapping(flat, lambda text: text.partition(" "))
    return [Entry(kind, name, value, int(version)) for name, (version, _, value) in sorted(kept.items())]


def limit_words(capacities: Mapping[str, int | None], rates: Mapping[str, Rate | None]) -> dict[str, Any]:
    return {
        "capacities": {name: _text(capacity) for name, capacity in capacities.items()},
        "rates": {name: _json(rate) for name, rate in rates.items()},
    }


def entry_words(entry: Entry) -> tuple[Any, ...]:
    return entry.kind, entry.name, entry.version, _or_false(entry.value)
