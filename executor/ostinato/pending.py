"""What a flow has begun and waits for, as far as the record tells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from ostinato import codec
from ostinato.current import CurrentJob
from ostinato.errors import FlowError, Rejected, WaitTimeout
from ostinato.flow import Signal, Wait
from ostinato.model import APPROVAL, FINAL, Step
from ostinato.status import ended_error
from ostinato.task import registry

Lost = dict[str, str | None]
"""The steps that did not succeed, by the ids of their jobs; and by their keys those that are no jobs, each with
what is to be recorded of it once the flow has gone on after all."""


class Settled(Struct):
    """What came of a wait: a value, or an error to raise in the flow."""

    value: Any = None
    error: BaseException | None = None


class Pending(Wait):
    """Something that was begun. ``all``: nothing of it can go on before all of `open` have ended."""

    __slots__ = ()
    all = True

    def poll(self) -> Settled | None:
        """What came of it; None: nothing yet."""
        raise NotImplementedError

    def open(self) -> list[str]:
        """The jobs that it waits for."""
        return []

    def lost(self) -> Lost:
        """Once it has come: what did not succeed, of which that tells."""
        return {}


class Ready(Pending):
    """What is there already."""

    def __init__(self, value: Any = None, error: BaseException | None = None) -> None:
        self._settled = Settled(value, error)

    @classmethod
    def of_event(cls, recorded: str, item: Signal) -> Ready:
        told = codec.decode(recorded)
        return cls(told["payload"]) if "payload" in told else cls(error=_too_late(item))

    def poll(self) -> Settled | None:
        return self._settled


class Child(Pending):
    """A step that is a job."""

    __slots__ = ("_id", "_schema", "_settled", "_step")  # there may be very many

    def __init__(self, job_id: str, step: Step | None, schema: Any = None) -> None:
        self._id = job_id
        self._step = step
        self._schema = schema
        self._settled: Settled | None = None

    def poll(self) -> Settled | None:
        if self._settled is None and self._step is not None and self._step.state in FINAL:
            self._settled = _outcome(self._step, self._schema)
        return self._settled

    def lost(self) -> Lost:
        return {} if self._step is None or self._step.state == "succeeded" else {self._id: None}

    def open(self) -> list[str]:
        return [] if self.poll() is not None else [self._id]


class All(Pending):
    """Several, all of them."""

    def __init__(self, parts: Sequence[Pending], return_exceptions: bool = False) -> None:
        self._parts = parts
        self._return_exceptions = return_exceptions
        self._done = 0
        self.all = all(part.all for part in parts)

    def poll(self) -> Settled | None:
        while self._done < len(self._parts):
            if self._parts[self._done].poll() is None:
                return None
            self._done += 1
        came = [part.poll() or Settled() for part in self._parts]
        errors = [one.error for one in came if one.error is not None]
        if errors and not self._return_exceptions:
            return Settled(error=errors[0])
        return Settled([one.value if one.error is None else one.error for one in came])

    def open(self) -> list[str]:
        return [job_id for part in self._parts[self._done :] for job_id in part.open()]

    def lost(self) -> Lost:
        return {key: text for part in self._parts for key, text in part.lost().items()}


class Children(Pending):
    """What `All` of such steps is, for there may be very many."""

    def __init__(self, ids: Sequence[str], steps: Sequence[Step | None], return_exceptions: bool) -> None:
        self._ids = ids
        self._steps = [None if step is None or step.state not in FINAL else step for step in steps]
        self._return_exceptions = return_exceptions
        self._settled: Settled | None = None

    def poll(self) -> Settled | None:
        if self._settled is None and None not in self._steps:
            self._settled = self._settle()
        return self._settled

    def _settle(self) -> Settled:
        values: list[Any] = []
        for step in self._steps:
            if step is None:
                continue
            if step.state == "succeeded":
                values.append(_value(step, None))
                continue
            error = _outcome(step, None).error
            if not self._return_exceptions:
                return Settled(error=error)
            values.append(error)
        return Settled(values)

    def lost(self) -> Lost:
        return {step.id: None for step in self._steps if step is not None and step.state != "succeeded"}

    def open(self) -> list[str]:
        return [job_id for job_id, step in zip(self._ids, self._steps, strict=True) if step is None]


class FirstOf(Pending):
    """Several, whichever comes first. Which one that was is recorded: later more of them have come."""

    all = False

    def __init__(self, job: CurrentJob, key: str, parts: Sequence[Pending]) -> None:
        self._job = job
        self._key = key
        self._parts = parts
        recorded = job.recorded.get(key)
        self._chosen = None if recorded is None else int(recorded)

    def poll(self) -> Settled | None:
        if self._chosen is None:
            self._chosen = next((at for at, part in enumerate(self._parts) if part.poll() is not None), None)
            if self._chosen is None:
                return None
            self._job.record(self._key, str(self._chosen))
        came = self._parts[self._chosen].poll()
        return None if came is None else Settled((self._chosen, came.value), came.error)

    def lost(self) -> Lost:
        return {} if self._chosen is None else self._parts[self._chosen].lost()

    def open(self) -> list[str]:
        chosen = self._parts if self._chosen is None else [self._parts[self._chosen]]
        return [job_id for part in chosen for job_id in part.open()]


class Sub(Pending):
    """A coroutine of the flow's own; what it waits for, its branch says."""

    def __init__(self, came: Callable[[], Settled | None], lost: Callable[[], Lost]) -> None:
        self._came = came
        self._lost = lost

    def poll(self) -> Settled | None:
        return self._came()

    def lost(self) -> Lost:
        return self._lost()


class Event(Pending):
    """A signal from outside, or the end of the time for it. Which of them came first is recorded; the latter only
    once the flow has gone on after all, so that it can be run again when the signal has come after it failed."""

    all = False

    def __init__(
        self, job: CurrentJob, key: str, item: Signal, signal: tuple[str, Step | None], timer: Child | None
    ) -> None:
        self._job = job
        self._key = key
        self._item = item
        self._id, self._signal = signal
        self._timer = timer
        self._settled: Settled | None = None

    def poll(self) -> Settled | None:
        if self._settled is None:
            self._settled = self._look()
        return self._settled

    def _look(self) -> Settled | None:
        signal = self._signal
        if signal is not None and signal.state == "succeeded":
            self._job.record(self._key, f'{{"payload":{signal.result or "null"}}}')
            return Settled(codec.decode(signal.result or "null"))
        if self._timer is not None and self._timer.poll() is not None:
            return Settled(error=_too_late(self._item))
        return None

    def lost(self) -> Lost:
        came = self.poll()
        return {} if came is None or came.error is None else {self._key: '{"timeout":true}'}

    def open(self) -> list[str]:
        return [] if self.poll() is not None else [self._id, *(self._timer.open() if self._timer is not None else [])]


def _too_late(item: Signal) -> WaitTimeout:
    seconds = (item.timeout or 0) / 1e6
    return WaitTimeout(f"The event {item.name!r} with key {item.key!r} did not come within {seconds:g} s.")


def _outcome(step: Step, schema: Any) -> Settled:
    if step.state == "succeeded":
        return Settled(_value(step, schema))
    if step.task == APPROVAL and step.error is not None:
        return Settled(error=Rejected(step.error.message))
    if step.task == APPROVAL and step.state == "expired":
        return Settled(error=WaitTimeout(f"Nobody answered {step.name!r} (job {step.id}) in time."))
    error = ended_error(step.id, step.task, step.state, step.attempt, step.reason, step.error)
    return Settled(error=error)


def _value(step: Step, schema: Any) -> Any:
    text = step.result or "null"
    if text.startswith('{"$too_large":'):
        raise FlowError(
            f"The result of step {step.name!r} (job {step.id}, task {step.task}) was too large to be kept. Have it "
            "return a path or key to it, or raise max_payload; then run the step and the flow again: ostinato rerun."
        )
    if schema is not None:
        return codec.decode(text, schema)
    task = registry.get(step.task)
    return codec.decode(text) if task is None else task.result(text)
