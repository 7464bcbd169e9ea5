"""Between the rows of the tables and the values of the seam."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, case, literal_column, select

from ostinato.model import After, Attempt, Error, Job, Row, Unique, policy_from_json, policy_to_json
from ostinato.rules import first_state
from ostinato_sql import waits
from ostinato_sql.lane import Lane, read_lanes
from ostinato_sql.link import Link
from ostinato_sql.statement import Keyed
from ostinato_sql.tables import attempts, jobs, notes, steps


def _noted(key: str) -> ColumnElement[str | None]:
    chosen = select(notes.c.value).where(notes.c.job == jobs.c.seq, notes.c.key == literal_column(f"'{key}'"))
    # There is none before the first attempt, and who claims asks for most jobs then.
    return case((jobs.c.attempt > literal_column("0"), chosen.correlate(jobs).scalar_subquery()))


WHOLE = (*jobs.c, _noted("progress"), _noted("checkpoint"))
"""What a row of the seam is made of, but for its lane."""
ATTEMPT_COLUMNS = tuple(column for column in attempts.c if column.name not in ("job", "token"))


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
        "blocked" if job.after else first_state(job, job.run_at, now),
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


TIE_COLUMNS = ("after", "flow", "step", "fallback", "awaited", "stepped")
"""Besides, for jobs that have to do with others: most have not, and their inserts are spared them."""


def is_tied(job: Job) -> bool:
    return job.after is not None or job.flow is not None or job.default is not None or job.step != ""


def ties(job: Job, awaited: bool, stepped: bool) -> tuple[object, ...]:
    """The values of `TIE_COLUMNS`."""
    after = None if job.after is None else msgspec.json.encode(job.after).decode()
    return (after, job.flow, job.step or None, job.default, int(awaited), int(stepped))


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
    "awaited",
    "stepped",
)


def loaded_values(row: Row, seq: int) -> tuple[object, ...]:
    """The values of `LOADED_COLUMNS`, and ``seq``, for a job that comes from another store."""
    plain = [getattr(row, name) for name in LOADED_COLUMNS[:-4]]
    return (*plain, error_text(row.error), unique_text(row.job.unique), 1, 1, seq)


def to_row(values: Sequence[Any], lane: Lane, awaits: After | None, noted: dict[str, str]) -> Row:
    """The seam's row of the values of `WHOLE`, and of what is kept beside them."""
    (_seq, job_id, _lane, state, priority, _position, run_at, promote_at, expires_at, posted_at) = values[:10]
    (token, attempt, charged, deaths, cancelling, executor_id, lease_until, started_at, ended_at) = values[10:19]
    (reason, kind, front, asked_priority, asked_run_at, asked_expires_at, deadline, schedule, tick, parent) = values[
        19:29
    ]
    (uniqueness, tags, policy, args, result, error, after, flow, step, fallback) = values[29:39]
    (_awaited, _stepped, progress, checkpoint) = values[39:]
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
            after=None if after is None else msgspec.json.decode(after, type=After),
            flow=flow,
            step=step or "",
            default=fallback,
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
        after=awaits,
        steps=noted,
    )


AT = {column.name: at for at, column in enumerate(jobs.c)}
"""The places of the columns in `WHOLE`."""
SEQ, ID, LANE, STATE, PRIORITY, POSITION, TOKEN, ATTEMPT, STEPPED = (
    AT[name] for name in ("seq", "id", "lane", "state", "priority", "position", "token", "attempt", "stepped")
)
_STEPS = Keyed(lambda keys: select(steps.c.job, steps.c.name, steps.c.value).where(steps.c.job.in_(keys)))


def to_rows(link: Link, known: dict[int, Lane], found: Sequence[Sequence[Any]]) -> list[Row]:
    """The seam's rows, with their lanes looked up, and what is kept beside them."""
    of = read_lanes(link, known, [values[LANE] for values in found])
    awaits = waits.read(link, [values[SEQ] for values in found if values[STATE] == "blocked"])
    noted: dict[int, dict[str, str]] = {}
    for seq, name, value in link.among(_STEPS, [values[SEQ] for values in found if values[STEPPED]]):
        noted.setdefault(seq, {})[name] = value
    return [to_row(values, of[values[LANE]], awaits.get(values[SEQ]), noted.get(values[SEQ], {})) for values in found]


BRIEF = tuple(
    jobs.c[name] for name in ("seq", "id", "lane", "state", "attempt", "reason", "result", "error", "flow", "step")
)
"""What a brief row is made of; it begins as `WHOLE` does."""


def to_brief_rows(link: Link, known: dict[int, Lane], found: Sequence[Sequence[Any]]) -> list[Row]:
    """Rows that tell no more than what became of the jobs."""
    of = read_lanes(link, known, [values[LANE] for values in found])
    return [
        Row(
            job=Job(task=of[lane].task, id=job_id, flow=flow, step=step or ""),
            state=state,
            priority=0,
            attempt=attempt,
            reason=reason,
            result=result,
            error=to_error(error),
        )
        for _, job_id, lane, state, attempt, reason, result, error, flow, step in found
    ]


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
