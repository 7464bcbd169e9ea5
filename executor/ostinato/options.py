"""What can be said about a job, by its task or when it is posted: checked once, here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, TypedDict

import msgspec

from ostinato.errors import ConfigError
from ostinato.model import PRIORITIES, SECOND, After, Backoff, Job, Policy, Rise, Unique
from ostinato.names import check_name, suggest
from ostinato.units import Duration, Size, instant, micros, size

RUNNERS = ("subprocess", "pool", "thread", "asyncio")
MAX_KEY = 255
MAX_UNITS = 1_000_000


class PolicyOptions(TypedDict, total=False):
    """How a job runs and what becomes of its failures. ``None`` for a limit means: none."""

    runner: str
    timeout: Duration | None
    grace: Duration
    max_attempts: int
    backoff: Backoff | float
    on_lost: str
    sink: int
    deadline_lead: Duration | None
    memory: Size | None
    cpu: Duration | None
    files: int | None
    nice: int | None
    per_key: int | None


class JobOptions(PolicyOptions, total=False):
    """What can be said of a job whenever it is posted, also by a schedule."""

    queue: str
    priority: str | int
    slots: int
    resources: Mapping[str, int]
    key: str | None
    front: bool
    delay: Duration
    run_at: datetime
    deadline: datetime | timedelta
    expires: datetime | timedelta
    unique: str | Unique | None
    tags: tuple[str, ...] | list[str]


class PostOptions(JobOptions, total=False):
    """All that `TaskExecutor.post` takes besides the job."""

    after: Sequence[object]
    after_failure: str


def _whole(low: int, high: int) -> Callable[[Any, str], int]:
    def check(value: Any, name: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ConfigError(f"{name}={value!r}: give a whole number from {low} to {high}.")
        return value

    return check


def _one_of(*words: str) -> Callable[[Any, str], str]:
    def check(value: Any, name: str) -> str:
        if value not in words:
            raise ConfigError(f"{name}={value!r} is not known. {suggest(str(value), words)}")
        return str(value)

    return check


def _optional(check: Callable[[Any, str], int]) -> Callable[[Any, str], int | None]:
    return lambda value, name: None if value is None else check(value, name)


def _some(check: Callable[[Any, str], int]) -> Callable[[Any, str], int]:
    def more_than_none(value: Any, name: str) -> int:
        found = check(value, name)
        if found == 0:
            raise ConfigError(f"{name}={value!r} leaves nothing to run with: give more, or {name}=None for no limit.")
        return found

    return more_than_none


def _backoff(value: Any, name: str) -> Backoff:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = Backoff(first=float(value), factor=1.0, limit=float(value), jitter=0.0)
    if not isinstance(value, Backoff):
        raise ConfigError(f"{name}={value!r}: give seconds, or Backoff(first=1, factor=2, limit=3600, jitter=0.2).")
    numbers = (value.first, value.factor, value.limit, value.jitter)
    if not all(isinstance(number, (int, float)) and 0 <= number <= 10**9 for number in numbers) or value.jitter > 1:
        raise ConfigError(f"{value!r}: give numbers of at least 0, and a jitter of at most 1.")
    return value


def priority(value: Any, name: str = "priority") -> int:
    """A priority as a number: "high", "normal", "low" or any whole number, more is sooner."""
    if isinstance(value, str):
        if value not in PRIORITIES:
            raise ConfigError(
                f"{name}={value!r} is not known. {suggest(value, PRIORITIES)} Any whole number works too."
            )
        return PRIORITIES[value]
    return _whole(-1_000_000, 1_000_000)(value, name)


_POLICY: dict[str, Callable[[Any, str], Any]] = {
    "runner": _one_of(*RUNNERS),
    "timeout": _optional(_some(micros)),
    "grace": micros,
    "max_attempts": _whole(1, 1_000_000),
    "backoff": _backoff,
    "on_lost": _one_of("retry", "fail"),
    "sink": _whole(0, 1_000_000),
    "deadline_lead": _optional(micros),
    "memory": _optional(_some(size)),
    "cpu": _optional(_some(micros)),
    "files": _optional(_whole(8, 1_000_000_000)),
    "nice": _optional(_whole(0, 19)),
    "per_key": _optional(_whole(1, MAX_UNITS)),
}


def _tags(value: Any, name: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigError(f"{name}={value!r}: give a list of tags, [{str(value)!r}].")
    return tuple(check_name("tag", tag) for tag in value)


def _unique(value: Any, name: str) -> Unique | None:
    if value is None:
        return None
    rule = Unique(value) if isinstance(value, str) else value
    if not isinstance(rule, Unique):
        raise ConfigError(f"{name}={value!r}: give a key, or Unique(key, until='started', on_conflict='replace').")
    _one_of("started", "finished")(rule.until, "until")
    _one_of("existing", "replace", "raise")(rule.on_conflict, "on_conflict")
    if not isinstance(rule.key, str) or not 1 <= len(rule.key) <= MAX_KEY or "\0" in rule.key:
        raise ConfigError(f"The unique key {rule.key!r}: give text of 1 to {MAX_KEY} characters, without NUL.")
    if rule.period is not None:
        return msgspec.structs.replace(rule, period=micros(rule.period, "period") / SECOND)
    return rule


def _after(value: Any, name: str) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) or hasattr(value, "id") else value
    if not isinstance(given, Iterable):
        raise ConfigError(f"{name}={value!r}: give handles or ids of jobs, [handle, ...].")
    ids: dict[str, None] = {}
    for one in given:
        job_id = getattr(one, "id", one)
        if not isinstance(job_id, str) or not job_id:
            raise ConfigError(f"{name}={value!r}: {one!r} is no job that was posted. Give handles, or ids.")
        ids[job_id] = None
    return tuple(ids)


Holds = tuple[tuple[str, int], ...]


def _resources(value: Any, name: str) -> Holds:
    if not isinstance(value, Mapping):
        raise ConfigError(f'{name}={value!r}: give units by name, such as {{"gpu": 1}}.')
    units = _whole(1, MAX_UNITS)
    return tuple(
        (f"resource:{check_name('resource', one)}", units(value[one], f"{name}[{one!r}]"))
        for one in sorted(value, key=str)
    )


def _key(value: Any, name: str) -> Holds:
    return () if value is None else ((f"key:{check_name('key', value)}", 1),)


_PLACE: dict[str, Callable[[Any, str], Any]] = {
    "queue": lambda value, name: check_name("queue", value),
    "priority": priority,
    "slots": _whole(1, MAX_UNITS),
    "resources": _resources,
}
_POST: dict[str, Callable[[Any, str], Any]] = {
    **_PLACE,
    "key": _key,
    "front": lambda value, name: bool(value),
    "unique": _unique,
    "after": _after,
    "after_failure": _one_of("cancel", "run", "fail"),
    "tags": _tags,
}
_WHEN = ("delay", "run_at", "deadline", "expires")

TASK_OPTIONS = frozenset(_POLICY) | frozenset(_PLACE)
POST_OPTIONS = frozenset(_POLICY) | frozenset(_POST) | frozenset(_WHEN)


def task_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Job` that a task's options set. Raises ConfigError."""
    fields = _fields(options, _PLACE, Policy(), TASK_OPTIONS)
    if "resources" in fields:
        fields["holds"] = fields.pop("resources")
    return fields


def _fields(
    options: Mapping[str, Any],
    checks: Mapping[str, Callable[[Any, str], Any]],
    base: Policy,
    allowed: frozenset[str],
) -> dict[str, Any]:
    for name in options:
        if name not in allowed:
            raise ConfigError(f"There is no option {name!r}. {suggest(name, allowed)}")
    fields = {name: check(options[name], name) for name, check in checks.items() if name in options}
    changes = {name: check(options[name], name) for name, check in _POLICY.items() if name in options}
    fields["policy"] = msgspec.structs.replace(base, **changes) if changes else base
    return fields


class Placement:
    """The options of one call of post, checked once, then applied to each job of a list."""

    def __init__(self, options: Mapping[str, Any], now: int, rise: Rise = Rise()) -> None:  # noqa: B008 - frozen
        self._now = now
        self._rise = rise
        self._fields = _fields(options, _POST, Policy(), POST_OPTIONS)
        del self._fields["policy"]
        self._holds: dict[str, Holds] = {
            prefix: self._fields.pop(name)
            for name, prefix in (("resources", "resource:"), ("key", "key:"))
            if name in self._fields
        }
        if options.get("per_key") is not None and not options.get("key"):
            raise ConfigError('per_key= bounds the jobs of one key: give key="customer-7" or so too.')
        self._policy = {name: check(options[name], name) for name, check in _POLICY.items() if name in options}
        self._merged: dict[Policy, Policy] = {}
        self._after(options)
        self._when(options, now)

    def _after(self, options: Mapping[str, Any]) -> None:
        ids, failure = self._fields.pop("after", ()), self._fields.pop("after_failure", None)
        if failure is not None and not ids:
            raise ConfigError(f"after_failure={failure!r} says what becomes of a job after= others: give after= too.")
        if ids:
            self._fields["after"] = After(ids, failure or "cancel")
            unique = self._fields.get("unique")
            if unique is not None and unique.on_conflict == "replace":
                raise ConfigError(
                    "A job that comes after= others cannot take the place of another one: give another on_conflict."
                )

    def _when(self, options: Mapping[str, Any], now: int) -> None:
        if "delay" in options and "run_at" in options:
            raise ConfigError("delay= and run_at= both say when the job may start: give one of them.")
        if "delay" in options:
            self._fields["run_at"] = now + micros(options["delay"], "delay")
        if "run_at" in options:
            self._fields["run_at"] = instant(options["run_at"], "run_at")
        if "expires" in options:
            self._fields["expires_at"] = _from_now(options["expires"], "expires", now)
        if "deadline" in options:
            self._fields["deadline"] = _from_now(options["deadline"], "deadline", now)

    def template(self, job: Job) -> Job:
        """The job as it is posted again and again. Raises ConfigError for options that say when."""
        given = sorted({"run_at", "deadline", "expires_at", "after"} & self._fields.keys())
        if given:
            raise ConfigError(f"{', '.join(given)} of a schedule's job: the schedule says when it runs.")
        return self.apply(job, "")

    def apply(self, job: Job, job_id: str) -> Job:
        """The job as it will be stored."""
        if self._holds:
            kept = (hold for hold in job.holds if not hold[0].startswith(tuple(self._holds)))
            job = msgspec.structs.replace(job, holds=(*kept, *chain.from_iterable(self._holds.values())))
        fields = self._fields
        if self._policy:
            merged = self._merged.get(job.policy)
            if merged is None:
                merged = self._merged[job.policy] = msgspec.structs.replace(job.policy, **self._policy)
            fields = {**fields, "policy": merged}
        return rising(msgspec.structs.replace(job, id=job_id, **fields), self._now, self._rise)


def rising(job: Job, now: int, rise: Rise) -> Job:
    """The job, knowing when it becomes HIGH: near its deadline, or when it has waited too long."""
    if job.deadline is None and rise.ageing is None:
        return job
    at = []
    if job.deadline is not None:
        lead = job.policy.deadline_lead
        at.append(job.deadline - (rise.lead if lead is None else lead))
    if rise.ageing is not None:
        at.append(max(now, job.run_at) + rise.ageing)
    return msgspec.structs.replace(job, promote_at=min(at))


def _from_now(value: Any, name: str, now: int) -> int:
    if isinstance(value, datetime):
        return instant(value, name)
    return now + micros(value, name)
