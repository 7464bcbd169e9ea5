"""``current_job()``: what a running task can know and say about its own job."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from msgspec.structs import replace

from ostinato import clock
from ostinato.codec import decode, encode_args, text_of
from ostinato.errors import ConfigError, FlowError, NotRunning, PayloadError, StoreUnavailable
from ostinato.ids import new_ids
from ostinato.model import Job, Rise, Step
from ostinato.options import Placement, PostOptions
from ostinato.task import registry
from ostinato.units import moment
from ostinato.wire import Order

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Line(Protocol):
    """What leads from a running job to its executor."""

    def say(self, key: Literal["progress", "checkpoint"], value: str) -> None:
        """Note something about the run."""

    def post(self, jobs: Sequence[Job]) -> list[str]:
        """Post at once; the ids, which may be those of other jobs with the same keys. Raises what
        `ostinato.storage.Store.post` raises."""

    def record(self, name: str, value: str) -> None:
        """Record the value of a step; it is safe when this returns. Raises StoreUnavailable."""

    def ask(self, ids: Sequence[str] | None, cursor: str | None) -> tuple[list[Step], str | None]:
        """What became of the steps of this flow, or of the jobs named: a page, and the cursor for the rest."""


class Scope(Protocol):
    """Where in a job its steps are called."""

    def local(self, name: str) -> str:
        """The key of a step that is called now. Raises FlowError if its name was used here before."""

    def raised(self, key: str, error: Exception) -> Exception:
        """What to raise where a step was called that raised this."""

    def going_on(self) -> None:
        """Something is about to be recorded: the job has gone on from all that came before."""

    def unrecorded(self, error: StoreUnavailable) -> BaseException:
        """What to raise where a step could not be recorded."""

    def versioned(self, name: str) -> bool:
        """See `ostinato.flow.versioned`."""


class Plain:
    """The scope of a job that is no flow."""

    def __init__(self, job: CurrentJob) -> None:
        self._job = job
        self._names: set[str] = set()

    def local(self, name: str) -> str:
        if name in self._names:
            raise FlowError(
                f"Job {self._job.id} ({self._job.task}) calls step {name!r} twice. Give each a name of its own: "
                'step(f"page {number}", ...).'
            )
        self._names.add(name)
        return name

    def raised(self, key: str, error: Exception) -> Exception:
        return error

    def going_on(self) -> None: ...

    def unrecorded(self, error: StoreUnavailable) -> BaseException:
        return error

    def versioned(self, name: str) -> bool:
        raise FlowError(f"Job {self._job.id} ({self._job.task}) is no flow, so versioned({name!r}) says nothing of it.")


P = ParamSpec("P")
R = TypeVar("R")

MAX_STEP_NAME = 120
STEP_FRAMES = 2
"""As many of our own frames are between a step's name and its function."""
PROGRESS_INTERVAL = 0.25
"""Progress is passed on at most this often (seconds); the last value always is."""


class CurrentJob:
    """The job that runs here. Made by the runner, found by `current_job`."""

    def __init__(self, order: Order, line: Line) -> None:
        self._order = order
        self._posts: list[Job] = []
        self.line = line
        self.scope: Scope = Plain(self)
        self.recorded = dict(order.steps)
        """The values of the steps that were called before, as JSON."""
        self._state: Any = None if order.checkpoint is None else decode(order.checkpoint)
        self._progress_at = 0.0
        self._progress: str | None = None
        self.cancelled = False
        """True once the job is told to stop; `Interrupted` is raised in it as well."""

    @property
    def id(self) -> str:
        """The job's id; good as an idempotency key."""
        return self._order.job_id

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._order.attempt

    @property
    def task(self) -> str:
        return self._order.task

    @property
    def queue(self) -> str:
        return self._order.queue

    @property
    def tags(self) -> tuple[str, ...]:
        return self._order.tags

    @property
    def schedule(self) -> str | None:
        """The name of the schedule that posted the job, if one did."""
        return self._order.schedule

    @property
    def tick(self) -> datetime | None:
        """The due time of the schedule that this job stands for."""
        return None if self._order.tick is None else moment(self._order.tick)

    @property
    def last_completed_at(self) -> datetime | None:
        """When a job of this schedule last succeeded, so as to go on from there."""
        return None if self._order.last_completed is None else moment(self._order.last_completed)

    @property
    def log(self) -> Any:
        """A structlog logger, bound to the job, that writes to this attempt's log."""
        from ostinato import structured

        return structured.bound_logger({"job": self.id, "attempt": self.attempt, "task": self.task})

    @property
    def state(self) -> Any:
        """What the last `checkpoint` saved, in this attempt or an earlier one; None at first."""
        return self._state

    def checkpoint(self, state: Any) -> None:
        """Save a state (JSON data) that is there again if the job is interrupted and run anew."""
        text = encode_args({"state": state}, self.task)
        if len(text) > self._order.max_payload:
            raise PayloadError(
                f"The checkpoint of {self.task!r} has {len(text)} bytes, over the limit of "
                f"{self._order.max_payload}: save a path or key to it."
            )
        self._state = state
        self.line.say("checkpoint", text[len('{"state":') : -1])

    def step(self, name: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function once, and remember what it returned: an attempt that comes here again gets that
        (as JSON gives it back), and does not call it. What it raises is not remembered, so that the next attempt
        calls it again; but in a flow it is, if the flow catches it and goes on.

        Each step of a job needs a name of its own. A coroutine function is run to its end. Raises FlowError for
        a name that was used before, PayloadError for a value that cannot be stored or is too large; in a flow
        StepFailed for what the function raises, which is its cause.
        """
        if not isinstance(name, str) or not 1 <= len(name) <= MAX_STEP_NAME:
            raise ConfigError(f"step name {name!r}: give text of 1 to {MAX_STEP_NAME} characters.")
        key = self.scope.local(name)
        if key not in self.recorded:
            value = self._call(key, name, lambda: function(*args, **kwargs))
            text = encode_args({"value": value}, f"step {name}")[len('{"value":') : -1]
            if len(text) > self._order.max_payload:
                raise PayloadError(
                    f"The value of step {name!r} of {self.task!r} (job {self.id}) has {len(text)} bytes, over the "
                    f"limit of {self._order.max_payload}: return a path or key to it, or raise max_payload."
                )
            self.record(key, text)
        return cast("R", decode(self.recorded[key]))

    def _call(self, key: str, name: str, function: Callable[[], Any]) -> Any:
        try:
            value = function()
            return _to_its_end(value, name) if inspect.iscoroutine(value) else value
        except Exception as error:
            raised = self.scope.raised(key, error)
            if raised is error:
                raise
            raise raised from error

    def record(self, key: str, text: str) -> None:
        """Remember the value of a step, for this attempt and those to come."""
        self.scope.going_on()
        self.write(key, text)

    def write(self, key: str, text: str) -> None:
        """The same, whatever came before."""
        try:
            self.line.record(key, text)
        except StoreUnavailable as error:
            raise self.scope.unrecorded(error) from error
        self.recorded[key] = text

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Report how far the job is. Cheap: passed on at most four times a second."""
        self._progress = encode_args({"done": done, "total": total, "message": message}, self.task)
        if time.monotonic() - self._progress_at >= PROGRESS_INTERVAL:
            self.flush()

    def flush(self) -> None:
        """Pass on the last progress now."""
        if self._progress is not None:
            self.line.say("progress", self._progress)
            self._progress = None
            self._progress_at = time.monotonic()

    @overload
    def post(self, job: Job, *, at_once: bool = False, **options: Unpack[PostOptions]) -> Job: ...
    @overload
    def post(self, job: Sequence[Job], *, at_once: bool = False, **options: Unpack[PostOptions]) -> list[Job]: ...
    def post(
        self, job: Job | Sequence[Job], *, at_once: bool = False, **options: Unpack[PostOptions]
    ) -> Job | list[Job]:
        """Post follow-up jobs: stored together with this job's success, or not at all.

        With ``at_once`` they are stored when this returns, whatever becomes of this job; should it
        be run again, it posts them again (give them a ``unique`` key). Returns the jobs with their
        ids; for one whose key another job holds, with that one's. Raises what
        `TaskExecutor.post` raises.
        """
        placement = Placement(options, clock.now(), self._order.rise)
        jobs = as_jobs(job)
        placed = [
            replace(placement.apply(one, job_id), parent=self.id)
            for one, job_id in zip(jobs, new_ids(len(jobs)), strict=True)
        ]
        for one in placed:
            self.check(one)
        if at_once:
            placed = [replace(one, id=known) for one, known in zip(placed, self.line.post(placed), strict=True)]
        else:
            for one in placed:
                _check_conflict(one)
            self._posts.extend(placed)
        return placed[0] if isinstance(job, Job) else placed

    @property
    def rise(self) -> Rise:
        """When jobs that it posts become HIGH."""
        return self._order.rise

    def check(self, job: Job) -> None:
        """Raises PayloadError or ConfigError for a job that could not be run."""
        check_size(job, self._order.max_payload)
        check_runner(job)

    @property
    def posts(self) -> tuple[Job, ...]:
        return tuple(self._posts)


def _to_its_end(coroutine: Coroutine[Any, Any, R], name: str) -> R:
    import asyncio  # large: only who needs it pays for it

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    coroutine.close()
    raise FlowError(f"Step {name!r} is a coroutine, and is called where one runs already: await it, or make a flow.")


def _check_conflict(job: Job) -> None:
    if job.unique is not None and job.unique.on_conflict == "raise":
        raise ConfigError(
            f"Cannot post {job.task!r} with on_conflict='raise' for the time when this job has succeeded: nobody would "
            "hear of the conflict then. Post it with at_once=True, or give on_conflict='existing' or 'replace'."
        )


def as_jobs(given: object) -> list[Job]:
    """One job or several, as a list. Raises PayloadError for what is none."""
    jobs: list[Any] = list(given) if isinstance(given, Iterable) and not isinstance(given, (str, Job)) else [given]
    for one in jobs:
        if not isinstance(one, Job):
            raise PayloadError(
                f"Cannot post {text_of(one)}: it is no job. Make one of a task: post(task.job(...)); "
                "or Job.script(...), Job.command(...)."
            )
    return jobs


def check_size(job: Job, limit: int) -> None:
    """Raises PayloadError if the arguments of the job are over the limit (bytes)."""
    if 4 * len(job.args) > limit and len(job.args.encode()) > limit:  # no character has more bytes than four
        raise PayloadError(
            f"Cannot post {job.task!r}: its arguments have {len(job.args.encode()):,} bytes as JSON, over the "
            f"limit of {limit:,}. Store the data elsewhere and pass a path or key, or raise max_payload."
        )


def check_runner(job: Job) -> None:
    """Raises ConfigError if the job cannot be run by the runner that it asks for."""
    runner = job.policy.runner
    if job.kind != "function" and runner in ("thread", "asyncio"):
        raise ConfigError(f"runner={runner!r} cannot run a {job.kind}: leave it out, or give runner='subprocess'.")
    if (job.kind == "event") is not (runner == "notice"):
        raise ConfigError(f"runner={runner!r} cannot run a job of kind {job.kind!r}: leave it out.")
    if runner == "asyncio":
        task = registry.get(job.task)
        if task is not None and task.is_flow:
            raise ConfigError(f"runner='asyncio' cannot run {job.task!r}, which is a flow: leave it out.")
        if task is not None and not task.is_async:
            raise ConfigError(f"runner='asyncio' cannot run {job.task!r}, which is no coroutine: write \"async def\".")


_current: ContextVar[CurrentJob | None] = ContextVar("ostinato_current_job", default=None)


def current_job() -> CurrentJob:
    """The job that runs here. Raises NotRunning outside of a job."""
    job = _current.get()
    if job is None:
        raise NotRunning("current_job() is only known inside a running job; this code runs outside of one.")
    return job


def enter(job: CurrentJob | None) -> None:
    """Make this the current job of the calling thread or coroutine."""
    _current.set(job)
