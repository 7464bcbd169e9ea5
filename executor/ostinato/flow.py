"""What the code of a flow can wait for.

    @task
    def report(folder):                                   # a generator: waits with yield
        counts = yield [count.job(path) for path in ...]
        yield flow.sleep("1h")
        return sum(counts)

    @task(flow=True)
    async def order(number):                              # a coroutine: waits with await
        stock, price = await flow.gather(look_up.job(number), ask_price.job(number))
        await flow.event("paid", number, timeout="2d")

While a flow waits it holds no slot and no process. It goes on by running its code again, with all that it
waited for answered from the record: so what it does besides waiting must be the same each time, and what
is not goes into a job or a `step`. ``finally`` clauses begin at each wait, and end where they come to a step or
a wait; those are for the end of what they belong to. See `ostinato.replay`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ostinato.current import current_job
from ostinato.errors import AnswerError, ConfigError, FlowChanged, FlowError, Rejected, StepFailed, WaitTimeout
from ostinato.model import Job
from ostinato.names import check_name
from ostinato.options import JobOptions
from ostinato.units import Duration, micros

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "AnswerError",
    "FlowChanged",
    "FlowError",
    "Rejected",
    "StepFailed",
    "Wait",
    "WaitTimeout",
    "approve",
    "as_completed",
    "event",
    "first_completed",
    "gather",
    "run",
    "sleep",
    "step",
    "versioned",
]

P = ParamSpec("P")
R = TypeVar("R")


class Wait:
    """Something that a flow can wait for, with ``await`` or ``yield``."""

    __slots__ = ()

    def __await__(self) -> Generator[Wait, Any, Any]:
        return (yield self)


Item = Job | Wait | Coroutine[Any, Any, Any]
"""What can be gathered: a job, anything that the functions here make, or a coroutine of the flow's own."""


class Gather(Wait):
    def __init__(self, items: tuple[Item, ...], return_exceptions: bool) -> None:
        self.items = items
        self.return_exceptions = return_exceptions


class Run(Wait):
    def __init__(self, job: Job, options: JobOptions) -> None:
        self.job = job
        self.options = options


class First(Wait):
    def __init__(self, items: tuple[Item, ...]) -> None:
        self.items = items


class Begin(Wait):
    """Begins them, and waits for none: gives back one `Wait` for each."""

    def __init__(self, items: tuple[Item, ...]) -> None:
        self.items = items


class Sleep(Wait):
    def __init__(self, duration: int) -> None:
        self.duration = duration


class Signal(Wait):
    def __init__(self, name: str, key: str, timeout: int | None) -> None:
        self.name = name
        self.key = key
        self.timeout = timeout


class Approval(Wait):
    def __init__(self, job: Job, schema: Any) -> None:
        self.job = job
        self.schema = schema


def gather(*items: Item, return_exceptions: bool = False) -> Wait:
    """Wait for all of them: a list of their results in the order given. When all have ended and some did not
    succeed, the first such error is raised (JobFailed, JobCancelled, JobExpired, or what a coroutine raised);
    with ``return_exceptions`` they stand in the list."""
    return Gather(items, return_exceptions)


def run(job: Job, **options: Unpack[JobOptions]) -> Wait:
    """Wait for a job that is posted with options of its own: those of `TaskExecutor.post`, but ``unique``: a step
    is one by itself. Raises ConfigError."""
    if options.get("unique") is not None:
        raise ConfigError("A step of a flow is posted once by itself: leave unique= out.")
    return Run(job, options)


def first_completed(*items: Item) -> Wait:
    """Wait for any one of them: its index and its result. The others go on until the flow ends."""
    if not items:
        raise ConfigError("first_completed() of nothing would wait for ever: give it jobs.")
    return First(items)


async def as_completed(*items: Item) -> AsyncIterator[Any]:
    """The results as they come: ``async for result in as_completed(...)``. Raises what one of them raises."""
    begun = await Begin(items)
    while begun:
        at, result = await First(tuple(begun))
        del begun[at]
        yield result


def sleep(duration: Duration) -> Wait:
    """Wait so long, over restarts too. Seconds, text such as "1h", or a timedelta."""
    return Sleep(micros(duration, "duration"))


def event(name: str, key: object = "", *, timeout: Duration | None = None) -> Wait:
    """Wait until somebody calls `TaskExecutor.signal` with this name and key, or has done so already: its
    payload. Raises WaitTimeout if that does not happen in time."""
    return Signal(check_name("event", name), str(key), None if timeout is None else micros(timeout, "timeout"))


def approve(
    title: str,
    *,
    schema: Any = bool,
    assignee: str = "",
    timeout: Duration | None = None,
    default: Any = None,
) -> Wait:
    """Wait for a person's answer, of the type ``schema``: see `JobHandle.approve`. If nobody answers in time
    the answer is ``default``. Raises Rejected, or WaitTimeout if there is no default."""
    seconds = None if timeout is None else micros(timeout, "timeout") / 1e6
    return Approval(Job.approval(title, schema=schema, assignee=assignee, timeout=seconds, default=default), schema)


def step(name: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function once, and remember its result: see `CurrentJob.step`."""
    return current_job().step(name, function, *args, **kwargs)


def versioned(name: str) -> bool:
    """Guards a change of a flow's code: True in flows that come here for the first time, False in those that
    have gone on from here already, with the code from before the change."""
    return current_job().scope.versioned(name)
