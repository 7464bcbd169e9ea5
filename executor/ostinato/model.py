"""The words of Ostinato as frozen values: a job, an attempt, an outcome, an event.

Every value that crosses a seam (posting, storing, running, reporting) is one of these.
All times are integers, microseconds since 1970-01-01 UTC; all durations are integers in
microseconds. JSON documents travel as ``str``, encoded once by `ostinato.codec`.
Those of which there may be very many are kept from the garbage collector (``gc=False``): none of them can be
part of a circle, and its walks are a good part of what a large flow costs.
This module imports nothing of ours but what makes the arguments of jobs that call no function.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from functools import lru_cache
from typing import Any, Literal

import msgspec
from msgspec import Struct

from ostinato.payload import notice, program, question

SECOND = 1_000_000

State = Literal["scheduled", "ready", "blocked", "waiting", "running", "succeeded", "failed", "cancelled", "expired"]
FINAL: frozenset[str] = frozenset({"succeeded", "failed", "cancelled", "expired"})

HIGH, NORMAL, LOW = 100, 0, -100
PRIORITIES = {"high": HIGH, "normal": NORMAL, "low": LOW}

Kind = Literal["function", "script", "command", "event", "approval", "signal", "timer"]
WAITING: frozenset[str] = frozenset({"approval", "signal", "timer"})
"""Kinds of jobs that nobody runs: they wait for an answer from outside, or for their time to run out."""
DUE = "ostinato.event"
"""The task of all jobs that only notify: known to executors that listen for them."""
APPROVAL, SIGNAL, TIMER = "ostinato.approval", "ostinato.signal", "ostinato.timer"
"""The tasks of jobs that nobody runs."""
OWN = ":"
"""Begins the names of what a flow records by itself, as no step that is called in it may."""
SURVIVED = f"{OWN}survived#"
"""Begins the names of a flow's records of steps that did not succeed, and which it went on after all."""
RAISED = f"{OWN}raised:"
"""Begins the names of a flow's records of steps that it called, and which raised."""

Channel = Literal["ready", "ended", "orders"]

CatchUp = Literal["all", "latest", "none"]
Overlap = Literal["skip", "queue", "allow", "cancel_previous"]


class Backoff(Struct, frozen=True):
    """How long to wait before the next attempt: ``first * factor**(n-1)``, at most ``limit``.

    ``jitter`` is the share (0 to 1) of the delay that is drawn at random, so that many
    jobs that failed together do not come back together. Durations in seconds.
    """

    first: float = 1.0
    factor: float = 2.0
    limit: float = 3600.0
    jitter: float = 0.2


class Keep(Struct, frozen=True):
    """How long ended jobs stay: at most ``age`` (seconds, or text such as "7d"), and at most
    ``count`` of them. None: no bound."""

    age: float | str | None = None
    count: int | None = None


class Policy(Struct, frozen=True, omit_defaults=True, gc=False):
    """How a job is run and what becomes of its failures. Stored with the job, so that an
    executor that rescues a job needs not know its task."""

    runner: str = "subprocess"
    timeout: int | None = None
    grace: int = 10 * SECOND
    max_attempts: int = 1
    backoff: Backoff = Backoff()
    on_lost: Literal["retry", "fail"] = "retry"
    sink: int = 1
    deadline_lead: int | None = None
    memory: int | None = None
    cpu: int | None = None
    files: int | None = None
    nice: int | None = None
    per_key: int | None = None


class Rise(Struct, frozen=True, omit_defaults=True):
    """When waiting jobs become HIGH: ``lead`` before their deadline (microseconds), and when they could
    have started for as long as ``ageing`` (None: never)."""

    lead: int = 60 * SECOND
    ageing: int | None = None


class Unique(Struct, frozen=True, omit_defaults=True):
    """At most one live job per key.

    ``until`` says how long a job keeps its key: until it is ``started`` for the first time, or until
    it is ``finished``; with a ``period``, for so many seconds from its post on. ``on_conflict`` says what becomes
    of a post whose key is taken: the ``existing`` job is the answer; or it takes over all of the new
    one but its id and its place in line (``replace``; one that has begun stays as it is); or the post
    is refused with `AlreadyPosted` (``raise``).
    """

    key: str
    until: Literal["started", "finished"] = "finished"
    period: float | None = None
    on_conflict: Literal["existing", "replace", "raise"] = "existing"


class After(Struct, frozen=True, omit_defaults=True, gc=False):
    """Jobs that must have ended before another one can run: all of them, or with ``first`` any one.

    ``failure`` says what becomes of that other one as soon as one of them ended without success: it is
    cancelled (``cancel``), it fails too (``fail``), or it makes no difference (``run``).
    """

    jobs: tuple[str, ...]
    failure: Literal["cancel", "run", "fail"] = "cancel"
    first: bool = False


class Job(Struct, frozen=True, kw_only=True, gc=False):
    """One durable request to run a task: all that is needed to run it, and when, and how.

    Made by ``task.job(...)``, ``Job.script(...)`` or ``Job.command(...)``; it has an ``id``
    once it is posted. ``args`` is a JSON document. ``run_at`` 0 means at once.
    ``holds`` are named units that the job occupies while it runs. ``flow`` is the id of the job whose
    ``step`` it is: it lives no longer than that one. ``default`` is the result of a job that nobody
    runs when its time (``expires_at``) runs out; None: it is expired then, like others.
    """

    task: str
    args: str = "{}"
    id: str = ""
    kind: Kind = "function"
    version: int = 1
    queue: str = "default"
    priority: int = NORMAL
    front: bool = False
    slots: int = 1
    holds: tuple[tuple[str, int], ...] = ()
    run_at: int = 0
    deadline: int | None = None
    promote_at: int | None = None
    expires_at: int | None = None
    tags: tuple[str, ...] = ()
    schedule: str | None = None
    tick: int | None = None
    parent: str | None = None
    unique: Unique | None = None
    after: After | None = None
    flow: str | None = None
    step: str = ""
    default: str | None = None
    policy: Policy = Policy()

    def __await__(self) -> Generator[Job, Any, Any]:
        """In a flow: wait for the job, which is a step of it, and get its result. See `ostinato.flow`."""
        return (yield self)

    @staticmethod
    def script(path: str, *args: str, cwd: str | None = None, env: dict[str, str] | None = None) -> Job:
        """A job that runs a Python file in a fresh interpreter of its own.

        Exit code 0 is success, 100 is cancelled, anything else a failure. Policy and
        place are given when it is posted: ``executor.post(Job.script("nightly.py"), timeout=60)``.
        """
        return Job(task="ostinato.script", kind="script", args=program("script", [path, *args], cwd, env))

    @staticmethod
    def command(argv: list[str], *, cwd: str | None = None, env: dict[str, str] | None = None) -> Job:
        """A job that runs any command line, given as a list (no shell is involved)."""
        return Job(task="ostinato.command", kind="command", args=program("command", argv, cwd, env))

    @staticmethod
    def approval(
        title: str,
        *,
        schema: Any = bool,
        assignee: str = "",
        timeout: float | timedelta | None = None,
        default: Any = None,
    ) -> Job:
        """A job that nobody runs: it waits until a person answers it (`JobHandle.approve`, ``ostinato approve``),
        and the answer is its result. ``schema`` is the type of the answer. After ``timeout`` (seconds or a
        timedelta) the answer is ``default``; if that is None the job has expired.

        Raises PayloadError for a type that JSON cannot carry, or a default that does not fit it.
        """
        args, otherwise, expires_at = question(title, schema, assignee, timeout, default)
        return Job(task=APPROVAL, kind="approval", args=args, default=otherwise, expires_at=expires_at)

    @staticmethod
    def event(name: str, data: Any = None) -> Job:
        """A job that runs nothing: when it is due, an executor that listens for ``due`` gets an event with
        this name and data. It has succeeded when the listeners have returned; if one raises, it is tried
        again, 3 times in all unless the post says ``max_attempts``.

        Raises PayloadError for what JSON cannot hold.
        """
        policy = Policy(runner="notice", max_attempts=3)
        return Job(task=DUE, kind="event", args=notice(name, data), policy=policy)


class Schedule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A recurring trigger, as `ostinato.schedule.define` makes it: which job, and when.

    One of ``cron`` (an expression, read in ``timezone``), ``every`` (an interval, counted from ``start_at``
    or else ``anchor``) and ``after`` (the name of the schedule whose success triggers it). No tick comes
    before ``start_at`` nor after ``end_at``. ``jitter`` is the longest delay that is drawn for a tick.
    """

    name: str
    job: Job
    cron: str | None = None
    every: int | None = None
    after: str | None = None
    timezone: str = "UTC"
    start_at: int | None = None
    end_at: int | None = None
    anchor: int = 0
    jitter: int = 0
    catch_up: CatchUp = "latest"
    max_backlog: int = 1000
    overlap: Overlap = "skip"
    paused: bool = False


class Fence(Struct, frozen=True, gc=False):
    """The right to write about a running job. ``token`` rises at every claim and take-over;
    a write with an older token is refused."""

    job_id: str
    token: int


class Error(Struct, frozen=True, omit_defaults=True):
    """Why an attempt did not succeed: type name, message, traceback as text."""

    type: str
    message: str
    traceback: str = ""


OutcomeKind = Literal[
    "success",  # returned, or exit code 0
    "failure",  # raised, or another exit code
    "timeout",  # stopped because it ran too long
    "died",  # its process was killed by a signal or ended without a result
    "cancelled",  # cancelled by somebody, or by the job itself (exit code 100)
    "retry",  # asked to be run again (Retry)
    "snooze",  # asked to be run later; costs no attempt (Snooze)
    "interrupted",  # the executor was stopped; costs no attempt
    "lost",  # the executor is gone; costs no attempt
    "unreadable",  # the arguments no longer fit the task
    "suspended",  # a flow that waits for its steps; costs no attempt
    "parked",  # a flow that no longer fits what is recorded of it; waits for somebody to mend it
]


class Outcome(Struct, frozen=True, kw_only=True, gc=False):
    """How one attempt ended, as its runner saw it. Policy comes later, in `lifecycle`."""

    kind: OutcomeKind
    result: str | None = None
    error: Error | None = None
    reason: str = ""
    retryable: bool = True
    delay: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    cpu: int | None = None
    peak_memory: int | None = None
    started_at: int = 0
    ended_at: int = 0
    posts: tuple[Job, ...] = ()
    after: After | None = None
    logged: bool = True


class Attempt(Struct, frozen=True, kw_only=True, gc=False):
    """One ended execution of a job. ``log`` is where its log was uploaded: a URL, None while
    the upload is pending, "" when the attempt wrote nothing."""

    job_id: str
    number: int
    executor_id: str
    outcome: OutcomeKind
    started_at: int
    ended_at: int
    reason: str = ""
    error: Error | None = None
    exit_code: int | None = None
    signal: int | None = None
    cpu: int | None = None
    peak_memory: int | None = None
    log: str | None = None


class End(Struct, frozen=True, kw_only=True, gc=False):
    """The one way out of running: the next state, decided by the core, applied by the store
    if the fence still holds. ``posts`` are stored in the same atomic step; ``after`` is what a job
    that becomes ``blocked`` waits for."""

    state: State
    attempt: Attempt
    run_at: int = 0
    priority: int = NORMAL
    charged: int = 0
    deaths: int = 0
    result: str | None = None
    error: Error | None = None
    reason: str = ""
    posts: tuple[Job, ...] = ()
    after: After | None = None


class Row(Struct, frozen=True, kw_only=True, gc=False):
    """A job as the store holds it now.

    ``attempt`` is the number of the newest claim, ``charged`` how many attempts ended by the
    task's own doing, ``deaths`` how often it was running when a process or executor died,
    ``priority``, ``run_at`` and ``expires_at`` the ones in force, ``cancelling`` that somebody asked
    to cancel it while it runs. ``after`` are the jobs that a blocked one still waits for, ``steps``
    what `ostinato.storage.Note` recorded of its steps, by name.
    """

    job: Job
    state: State
    priority: int
    token: int = 0
    attempt: int = 0
    charged: int = 0
    deaths: int = 0
    executor_id: str | None = None
    lease_until: int | None = None
    run_at: int = 0
    expires_at: int | None = None
    posted_at: int = 0
    started_at: int | None = None
    ended_at: int | None = None
    cancelling: bool = False
    result: str | None = None
    error: Error | None = None
    reason: str = ""
    progress: str | None = None
    checkpoint: str | None = None
    after: After | None = None
    steps: dict[str, str] = {}

    @property
    def fence(self) -> Fence:
        return Fence(self.job.id, self.token)


class Step(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a flow needs to know of a job that it waits for. ``name`` is its `Job.step`, "" for one that is
    no step of it."""

    id: str
    name: str
    task: str
    state: State
    result: str | None = None
    error: Error | None = None
    reason: str = ""
    attempt: int = 0


class ExecutorInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an executor tells the others about itself with every sign of life.

    ``host`` tells one machine (and process-id space) from another; ``process`` is the
    (pid, start time) pair by which its death is noticed on the same host. ``tasks`` maps each
    known task to the newest version it accepts. ``overloaded`` says why it takes no jobs for now,
    because its machine is too busy; "" if it is not.
    """

    id: str
    host: str
    name: str
    pid: int
    process: int
    started_at: int
    slots: int
    busy: int = 0
    queues: tuple[str, ...] = ("default",)
    tasks: dict[str, int] = {}
    spool: str = ""
    log_store: str = ""
    draining: bool = False
    overloaded: str = ""
    seen_at: int = 0
    lease_until: int = 0


EventKind = Literal[
    "idle",
    "start",
    "success",
    "fail",
    "retry",
    "cancel",
    "expire",
    "rescue",
    "progress",
    "log_uploaded",
    "deadline_missed",
    "due",
]
END_EVENTS: dict[str, EventKind] = {
    "succeeded": "success",
    "failed": "fail",
    "cancelled": "cancel",
    "expired": "expire",
}
"""What the end of a job is told as, by its state."""


class Event(Struct, frozen=True, kw_only=True):
    """What a listener gets. ``result`` is the decoded return value of a success, ``data``
    what a `Job.event` carries (its name is the ``reason``), ``at`` the time in microseconds."""

    kind: EventKind
    executor_id: str
    at: int
    job_id: str | None = None
    task: str | None = None
    attempt: int | None = None
    result: object = None
    error: Error | None = None
    reason: str = ""
    progress: tuple[float, float | None, str] | None = None
    log: str | None = None
    data: object = None


@lru_cache(maxsize=1024)
def policy_to_json(policy: Policy) -> str:
    """Policies repeat (one a task), so both directions are remembered."""
    return msgspec.json.encode(policy).decode()


@lru_cache(maxsize=1024)
def policy_from_json(text: str) -> Policy:
    return msgspec.json.decode(text, type=Policy)


# msgspec works out how to read a type when it first meets it, and two threads that meet it at once
# may crash the interpreter (seen with msgspec 0.22). So it meets all of them here, and
# those of `ostinato.payload` there.
for _met in (Policy, Job, Schedule, Error, Attempt, Row, ExecutorInfo, Event, Unique):
    msgspec.json.Decoder(_met)
