"""Run a task's function once and say how it ended. Used by every runner."""

from __future__ import annotations

from typing import Any

from ostinato import pino, replay
from ostinato.codec import clean, describe, encode_result
from ostinato.current import STEP_FRAMES, CurrentJob
from ostinato.errors import FlowError, Interrupted, StepFailed
from ostinato.model import Error, Outcome
from ostinato.sink import Sink
from ostinato.task import Task
from ostinato.verdicts import Cancel, Retry, Snooze
from ostinato.wire import Order

CANCELLED_CODE = 100
OUR_FRAMES, FLOW_FRAMES = 1, 3


def run(task: Task[..., Any], order: Order, job: CurrentJob) -> Outcome:
    """Call the function, to its end if it is a coroutine. Never raises."""
    try:
        args, kwargs = task.arguments(order.args, order.version)
    except Exception as error:
        return unreadable(error)
    try:
        value = task.function(*args, **kwargs)
        if task.is_flow:
            value = replay.run(job, value)
        elif task.is_async:
            import asyncio  # large: only the processes of coroutines pay for it

            value = asyncio.run(value)
        return succeeded(value, order, job)
    except BaseException as error:
        return ended_by(error, task)


def unreadable(error: BaseException) -> Outcome:
    """The outcome of an attempt whose task was never entered, and would not be next time."""
    return Outcome(kind="unreadable", reason=summary(error), error=describe(error), retryable=False)


def succeeded(value: Any, order: Order, job: CurrentJob) -> Outcome:
    job.flush()
    return Outcome(kind="success", result=encode_result(value, order.max_payload), posts=job.posts)


def ended_by(error: BaseException, task: Task[..., Any] | None = None) -> Outcome:
    """The outcome of an attempt whose function raised."""
    if isinstance(error, replay.Suspended):
        return error.outcome
    frames = FLOW_FRAMES if task is not None and task.is_flow else OUR_FRAMES
    if isinstance(error, StepFailed) and error.__cause__ is not None:
        error, frames = error.__cause__, STEP_FRAMES
    reason = summary(error)
    if isinstance(error, FlowError):
        return Outcome(kind="parked", reason=clean(str(error), 1000), error=describe(error, OUR_FRAMES))
    if isinstance(error, Retry):
        return Outcome(kind="retry", reason=reason, delay=error.delay, error=describe(error, OUR_FRAMES))
    if isinstance(error, Snooze):
        return Outcome(kind="snooze", reason=reason, delay=error.delay)
    if isinstance(error, Cancel):
        return Outcome(kind="cancelled", reason=reason)
    if isinstance(error, SystemExit):
        return exited(error.code)
    described = describe(error, frames)
    if isinstance(error, Interrupted):
        return Outcome(kind="interrupted", reason=reason, error=described)
    if isinstance(error, MemoryError):
        reason = "out of memory"
    retryable = task is None or isinstance(error, task.retry_on)
    return Outcome(kind="failure", reason=reason, error=described, retryable=retryable)


def exited(code: Any) -> Outcome:
    """The outcome of an exit code: 0 success, 100 cancelled, anything else a failure."""
    if code is None or code == 0:
        return Outcome(kind="success", result="null", exit_code=0)
    if code == CANCELLED_CODE:
        return Outcome(kind="cancelled", reason="cancelled by the job itself (exit code 100)", exit_code=CANCELLED_CODE)
    if not isinstance(code, int):  # sys.exit("message") means 1
        return Outcome(kind="failure", reason=clean(str(code), 300), exit_code=1, error=Error("SystemExit", str(code)))
    return Outcome(kind="failure", reason=f"exit code {code}", exit_code=code, error=Error("Exit", f"exit code {code}"))


def summary(error: BaseException) -> str:
    """One line that names the error."""
    try:
        text = str(error)
    except Exception:
        text = ""
    name = type(error).__name__
    line = text.strip().splitlines()[0] if text.strip() else ""
    return clean(f"{name}: {line}" if line else name, 300)


def log_outcome(sink: Sink, outcome: Outcome) -> None:
    """Write the error of an attempt to its log, as pino does."""
    if outcome.error is not None:
        error = outcome.error
        err = {"type": error.type, "message": error.message, "stack": error.traceback}
        sink.emit(pino.ERROR, outcome.reason, {"err": err})
