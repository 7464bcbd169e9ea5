"""Between the rows of the tables and the values of the seam."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import ScalarSelect, literal_column, select

from ostinato.model import Attempt, Error, Job, Row, Unique, policy_from_json, policy_to_json
from ostinato_sql.link import Link
from ostinato_sql.statement import Keyed
from ostinato_sql.tables import attempts, jobs, lanes, notes


def _noted(key: str) -> ScalarSelect[str]:
    chosen = select(notes.c.value).where(notes.c.job == jobs.c.seq, notes.c.key == literal_column(f"'{key}'"))
    return chosen.correlate(jobs).scalar_subquery()


WHOLE = (*jobs.c, _noted("progress"), _noted("checkpoint"))
"""What a row of the seam is made of, but for its lane."""
ATTEMPT_COLUMNS = tuple(column for column in attempts.c if column.name not in ("job", "token"))
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


def tag_key(tag: str) -> str:
    """A tag as it is looked up. Long ones are cut, with a hash of the whole: indexes do not take them."""
    if len(tag) <= _LONGEST_TAG:
        return tag
    whole = hashlib.blake2b(tag.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
    return f"{tag[: _LONGEST_TAG - 41]}#{whole}"


_LONGEST_TAG = 255

NEW_COLUMNS = (
    "seq",
    "id",
    "lane",
    "state",
    "priority",
    "position",
    "run_at",
    "promote_at",
    "expires_at",
    "posted_at",
    "kind",
    "front",
    "asked_priority",
    "asked_run_at",
    "asked_expires_at",
    "deadline",
    "schedule",
    "tick",
    "parent",
    "uniqueness",
    "tags",
    "policy",
    "args",
)


def new_row(job: Job, job_id: str, seq: int, lane: int, now: int) -> tuple[object, ...]:
    """The values of `NEW_COLUMNS` for a job that is posted now."""
    return (
        seq,
        job_id,
        lane,
        "scheduled" if job.run_at > now else "ready",
        job.priority,
        -seq if job.front else seq,
        job.run_at,
        job.promote_at,
        job.expires_at,
        now,
        job.kind,
        1 if job.front else 0,
        job.priority,
        job.run_at,
        job.expires_at,
        job.deadline,
        job.schedule,
        job.tick,
        job.parent,
        unique_text(job.unique),
        msgspec.json.encode(job.tags).decode() if job.tags else "",
        policy_to_json(job.policy),
        job.args,
    )


LOADED_COLUMNS = (
    "state",
    "priority",
    "run_at",
    "expires_at",
    "posted_at",
    "token",
    "attempt",
    "charged",
    "deaths",
    "executor_id",
    "started_at",
    "ended_at",
    "result",
    "reason",
    "error",
    "uniqueness",
)


def loaded_values(row: Row, seq: int) -> tuple[object, ...]:
    """The values of `LOADED_COLUMNS`, and ``seq``, for a job that comes from another store."""
    plain = [getattr(row, name) for name in LOADED_COLUMNS[:-2]]
    return (*plain, error_text(row.error), unique_text(row.job.unique), seq)


def to_row(values: Sequence[Any], lane: Lane) -> Row:
    """The seam's row of the values of `WHOLE`."""
    (_seq, job_id, _lane, state, priority, _position, run_at, promote_at, expires_at, posted_at) = values[:10]
    (token, attempt, charged, deaths, cancelling, executor_id, lease_until, started_at, ended_at) = values[10:19]
    (reason, kind, front, asked_priority, asked_run_at, asked_expires_at, deadline, schedule, tick, parent) = values[
        19:29
    ]
    (uniqueness, tags, policy, args, result, error, progress, checkpoint) = values[29:]
    return Row(
        job=Job(
            task=lane.task,
            args=args,
            id=job_id,
            kind=kind,
            version=lane.version,
            queue=lane.queue,
            priority=asked_priority,
            front=bool(front),
            slots=lane.slots,
            holds=lane.holds,
            run_at=asked_run_at,
            deadline=deadline,
            promote_at=promote_at,
            expires_at=asked_expires_at,
            tags=msgspec.json.decode(tags, type=tuple[str, ...]) if tags else (),
            schedule=schedule,
            tick=tick,
            parent=parent,
            unique=to_unique(uniqueness),
            policy=policy_from_json(policy),
        ),
        state=state,
        priority=priority,
        token=token,
        attempt=attempt,
        charged=charged,
        deaths=deaths,
        executor_id=executor_id,
        lease_until=lease_until,
        run_at=run_at,
        expires_at=expires_at,
        posted_at=posted_at,
        started_at=started_at,
        ended_at=ended_at,
        cancelling=bool(cancelling),
        result=result,
        error=to_error(error),
        reason=reason,
        progress=progress,
        checkpoint=checkpoint,
    )


AT = {column.name: at for at, column in enumerate(jobs.c)}
"""The places of the columns in `WHOLE`."""
SEQ, ID, LANE, PRIORITY, POSITION, TOKEN, ATTEMPT = (
    AT[name] for name in ("seq", "id", "lane", "priority", "position", "token", "attempt")
)


def to_rows(link: Link, known: dict[int, Lane], found: Sequence[Sequence[Any]]) -> list[Row]:
    """The seam's rows, with their lanes looked up."""
    of = read_lanes(link, known, [values[LANE] for values in found])
    return [to_row(values, of[values[LANE]]) for values in found]


def changed(values: Sequence[Any], **fields: object) -> list[Any]:
    """The values of `WHOLE` after an update of some of them."""
    after = list(values)
    for name, value in fields.items():
        after[AT[name]] = value
    return after


def error_text(error: Error | None) -> str | None:
    return None if error is None else msgspec.json.encode(error).decode()


def to_error(text: str | None) -> Error | None:
    return None if text is None else msgspec.json.decode(text, type=Error)


def unique_text(unique: Unique | None) -> str | None:
    return None if unique is None else msgspec.json.encode(unique).decode()


def to_unique(text: str | None) -> Unique | None:
    return None if text is None else msgspec.json.decode(text, type=Unique)


def to_attempt(job_id: str, values: Sequence[Any]) -> Attempt:
    """The seam's attempt of the values of `ATTEMPT_COLUMNS`."""
    number, executor_id, outcome, started_at, ended_at, reason, error, exit_code, sign, cpu, peak, log = values
    return Attempt(
        job_id=job_id,
        number=number,
        executor_id=executor_id,
        outcome=outcome,
        started_at=started_at,
        ended_at=ended_at,
        reason=reason,
        error=to_error(error),
        exit_code=exit_code,
        signal=sign,
        cpu=cpu,
        peak_memory=peak,
        log=log,
    )


def attempt_values(job: int, token: int, attempt: Attempt) -> tuple[object, ...]:
    """All columns of the attempts' table."""
    return (
        job,
        attempt.number,
        token,
        attempt.executor_id,
        attempt.outcome,
        attempt.started_at,
        attempt.ended_at,
        attempt.reason,
        error_text(attempt.error),
        attempt.exit_code,
        attempt.signal,
        attempt.cpu,
        attempt.peak_memory,
        attempt.log,
    )
