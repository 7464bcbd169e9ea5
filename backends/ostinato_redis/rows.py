"""Between the values of the seam and what the scripts take and answer (see ``scripts/parts``)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec.structs import force_setattr

from ostinato.errors import PayloadError
from ostinato.model import After, Attempt, Error, ExecutorInfo, Job, Row
from ostinato.storage import Ask, Entry, Rate

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
    "steps",
)
"""The fields of a job's hash that make its row, in the order in which the scripts answer them."""

FACTS = (
    *("state", "lane", "seq", "place", "priority", "asked", "token", "attempt", "run_at", "promote_at", "expires_at"),
    *("posted", "ended", "owner", "lease", "cancelling", "reason", "tags", "key", "key_until", "key_period"),
    "flow",
)
"""Those that the scripts decide by."""

Value = TypeVar("Value")


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


def _to_job(words: str, job_id: str) -> Job:
    try:
        job = msgspec.json.decode(words, type=Job)
    except msgspec.DecodeError:
        job = msgspec.convert(json.loads(words), Job)
    force_setattr(job, "id", job_id)
    return job


def _to_after(rule: str, jobs: list[str]) -> After | None:
    failure, _, first = rule.partition(" ")
    return After(tuple(jobs), failure, bool(first)) if jobs else None  # type: ignore[arg-type]


def or_false(value: Any) -> Any:
    """Lua tables cannot hold nil."""
    return False if value is None else value


def text_or_false(number: int | None) -> str | bool:
    """Of a time that somebody chose: Lua's numbers are exact up to the year 2255 only."""
    return False if number is None else str(number)


def json_or_false(value: Error | Rate | None) -> str | bool:
    return False if value is None else msgspec.json.encode(value).decode()


def _number(text: str | bool) -> int | None:
    return None if text is False else int(text)


def to_row(values: Sequence[Any], owner: str | None = None) -> Row:
    """The seam's row; ``owner`` stands in for the one it has now if given."""
    (job_id, job, state, priority, token, attempt, charged, deaths, now_owned_by, lease, run_at, expires_at) = values[
        :12
    ]
    (posted, started, ended, cancelling, result, error, reason, progress, checkpoint, steps, *after) = values[12:]
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
        after=_to_after(*after) if after else None,
        steps=to_mapping(steps, str) if steps else {},
    )


def to_brief_row(values: Sequence[Any]) -> Row:
    """A row that tells no more than what became of the job."""
    job_id, job, state, attempt, result, error, reason = values
    return Row(
        job=_to_job(job, job_id),
        state=state,
        priority=0,
        attempt=int(attempt),
        reason=reason or "",
        result=None if result is False else result,
        error=None if error is False else msgspec.json.decode(error, type=Error),
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


def ask_words(ask: Ask) -> dict[str, Any]:
    return {"kind": ask.kind, "reason": ask.reason, "result": or_false(ask.result), "error": json_or_false(ask.error)}


def limit_words(capacities: Mapping[str, int | None], rates: Mapping[str, Rate | None]) -> dict[str, Any]:
    return {
        "capacities": {name: text_or_false(capacity) for name, capacity in capacities.items()},
        "rates": {name: json_or_false(rate) for name, rate in rates.items()},
    }


def entry_words(entry: Entry) -> tuple[Any, ...]:
    return entry.kind, entry.name, entry.version, or_false(entry.value)
