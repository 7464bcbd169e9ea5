"""The child's side of a flow: its code is run again from the start, and what it waits for is answered
from the record, until it comes to something that has not happened yet.

    code ─ waits for ─► Pending ─ poll ─► recorded: send it in, go on
                                     └──► not yet: all branches wait ─► suspended, with the new steps to post

Steps are known by their key: the name and how often that name was met in the same branch (`StepKeys`), so
that neither the order in which branches go on nor a step more elsewhere confuses them. The id of a step's
job is made of the flow's id and the key, so that posting it again does nothing.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator, Iterable, Sequence
from contextlib import suppress
from inspect import iscoroutine
from typing import Any

from msgspec.json import decode, encode
from msgspec.structs import replace

from ostinato import clock
from ostinato.codec import describe, text_of
from ostinato.current import STEP_FRAMES, CurrentJob
from ostinato.errors import ConfigError, FlowChanged, FlowError, Interrupted, PostError, StepFailed, StoreUnavailable
from ostinato.flow import Approval, Begin, First, Gather, Run, Signal, Sleep, Wait
from ostinato.model import RAISED, SECOND, SURVIVED, TIMER, After, Error, Job, Outcome, Step
from ostinato.options import Placement, rising
from ostinato.pending import All, Child, Children, Event, FirstOf, Lost, Pending, Ready, Settled, Sub
from ostinato.signals import signal_job
from ostinato.stepkeys import StepKeys, path_of
from ostinato.verdicts import Verdict

Routine = Generator[Any, Any, Any] | Coroutine[Any, Any, Any]
PAUSE = SECOND
"""Microseconds until a flow is tried again whose record could not be read or written."""
MOST_BYTES = 64 * 2**20
"""As much may be the arguments of steps that begin at once: they travel, and are stored, in one piece."""
DEEPEST = 100
"""As many ``finally`` clauses that wait may be inside of each other."""
_TIMER = Job(task=TIMER, kind="timer", default="null")


class Suspended(BaseException):
    """Nothing of the flow can go on now. Carries the outcome of this attempt."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


def run(job: CurrentJob, routine: Routine) -> Any:
    """Run the code of a flow as far as the record goes: what it returns or raises if it comes to its end.
    Raises Suspended if it does not, FlowError if it cannot go on."""
    replay = Replay(job)
    main = replay.branch("", routine)
    try:
        replay.load()
        while replay.advance():
            pass
        if replay.fault is not None:
            raise replay.fault
        if main.settled is None:
            raise Suspended(replay.suspend())
        if main.settled.error is not None:
            raise main.settled.error
        main.check()
        replay.check_branches()
        return main.settled.value
    finally:
        replay.close()


class Unforeseen(BaseException):
    """Raised in the code of a flow that is only checked, where it goes further than its record."""


class Replay:
    """One pass over the code of a flow."""

    def __init__(self, job: CurrentJob) -> None:
        self.job = job
        self.known: dict[str, Step] = {}
        self.posts: dict[str, Job] = {}
        self.fault: FlowError | Suspended | None = None
        self._others: dict[str, Step | None] = {}
        self._branches: list[Branch] = []
        self._unseen: dict[str, dict[str, None]] = {}
        self._survived: set[str] = set()

    def load(self) -> None:
        for step in self._told(None) if self.job.attempt > 1 else ():
            self.known[step.name] = step
        for key in self.known:
            self._unseen.setdefault(path_of(key), {})[key] = None
        for key, text in self.job.recorded.items():
            if key.startswith(SURVIVED):
                self._survived.update(decode(text))
            elif not key.startswith(RAISED):
                self._unseen.setdefault(path_of(key), {})[key] = None

    def _told(self, ids: Sequence[str] | None) -> Iterable[Step]:
        cursor: str | None = None
        while True:
            try:
                steps, cursor = self.job.line.ask(ids, cursor)
            except StoreUnavailable as error:
                raise self.away(error) from error
            yield from steps
            if cursor is None:
                return

    def other(self, job_id: str) -> Step | None:
        """A job that is no step of this flow, as it was when it was first asked for in this pass."""
        if job_id not in self._others:
            self._others[job_id] = next(iter(self._told([job_id])), None) if self.job.attempt > 1 else None
        return self._others[job_id]

    def away(self, error: StoreUnavailable) -> Suspended:
        """Without its record the flow cannot go on, whatever its code does: another attempt is made, at no cost."""
        self.fault = Suspended(Outcome(kind="snooze", delay=PAUSE, reason=str(error)))
        return self.fault

    def branch(self, path: str, routine: Routine) -> Branch:
        made = Branch(self, StepKeys(self.job.id, path, self._unseen.setdefault(path, {})), routine)
        self._branches.append(made)
        return made

    def advance(self) -> bool:
        """Let every branch go on as far as it can; whether any of them got anywhere."""
        moved = [branch.advance() for branch in tuple(self._branches)]  # those that begin now have their turn next
        return any(moved) and self.fault is None and self._branches[0].settled is None

    def suspend(self) -> Outcome:
        for branch in self._branches:
            branch.check()
        self.check_branches()
        self._check_size()
        self.survive()
        waits = [branch.pending for branch in self._branches if branch.settled is None and branch.pending is not None]
        opened = [(ids, one.all) for one in waits if (ids := one.open())]
        ids = list(dict.fromkeys(job_id for some, _ in opened for job_id in some))
        first = len(opened) > 1 or not all(every for _, every in opened)
        return Outcome(
            kind="suspended",
            reason=f"waits for {self.names_of(ids)}",
            posts=tuple(self.posts.values()),
            after=After(tuple(ids), "run", first),
        )

    def _check_size(self) -> None:
        size = sum(len(job.args) for job in self.posts.values())
        if size > MOST_BYTES:
            flow, count = self.job, len(self.posts)
            raise FlowError(
                f"Flow {flow.id} ({flow.task}) begins {count:,} steps at once, with {size:,} bytes of arguments "
                f"together, over the limit of {MOST_BYTES:,}. Pass paths or keys to the data, or wait for a part of "
                f"them before it begins the next; then: ostinato rerun {flow.id}"
            )

    def survive(self) -> None:
        """Record what did not succeed and the flow goes on all the same: it is not run again with the flow."""
        lost = {key: text for branch in self._branches if not branch.failed for key, text in branch.lost.items()}
        new = [key for key in lost if key not in self._survived]
        if new:
            self._survived.update(new)
            for key in new:
                if (text := lost[key]) is not None:
                    self.job.write(key, text)
            self.job.write(f"{SURVIVED}{self.job.attempt}.{len(self._survived)}", encode(new).decode())

    def check_branches(self) -> None:
        """Raises FlowChanged if the flow has gathered coroutines before, and now does so no more. Of branches of
        branches that is not known: they may not have come so far."""
        begun = {branch.keys.path for branch in self._branches}
        for path, keys in self._unseen.items():
            if keys and path not in begun and "." not in path:
                raise self.changed(f"it gathers no coroutine number {path[:-1]}", next(iter(keys)))

    def changed(self, found: str, expected: str) -> FlowChanged:
        job = self.job
        return FlowChanged(
            f"Flow {job.id} ({job.task}) no longer fits its record: {found}, but step {expected!r} is expected, which "
            f"it met before. It is parked. Bring back the code that makes this step, or guard the change with "
            f'flow.versioned("..."), then: ostinato rerun {job.id}'
        )

    def names_of(self, ids: Sequence[str]) -> str:
        some = ids[:3]
        names = {step.id: key for key, step in self.known.items() if step.id in some}
        names |= {one: post.step or post.task for one in some if (post := self.posts.get(one)) is not None}
        return ", ".join(names.get(one, one) for one in some) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")

    def close(self) -> None:
        """End the code where it stands. What its ``finally`` clauses do is no part of the flow: where they come to
        a step or a wait, they end too."""
        over = Suspended(Outcome(kind="suspended"))
        self.fault = self.fault or over
        for branch in reversed(self._branches):
            branch.close(over)


class Branch:
    """One line of code of the flow: its own, or a coroutine that it gathers."""

    def __init__(self, replay: Replay, keys: StepKeys, routine: Routine) -> None:
        self.replay = replay
        self.keys = keys
        self.routine = routine
        self.pending: Pending | None = None
        self.settled: Settled | None = None
        self.lost: Lost = {}
        """That without whose success it has gone on."""

    def advance(self) -> bool:
        moved = False
        while self.settled is None and self.replay.fault is None:
            try:
                came = Settled() if self.pending is None else self.pending.poll()
            except FlowError as error:
                self.replay.fault = error
                break
            if came is None:
                break
            moved = True
            if self.pending is not None:
                self.lost |= self.pending.lost()
            self._resume(came)
        return moved

    def _resume(self, came: Settled) -> None:
        self.replay.job.scope = self
        try:
            item = self.routine.send(came.value) if came.error is None else self.routine.throw(came.error)
            try:
                self.pending = self.begin(item)
            except BaseException:
                _discard(item)
                raise
        except StopIteration as stop:
            self.settled = Settled(stop.value)
        except (FlowError, Suspended) as error:
            self.replay.fault = error
        except Unforeseen:
            self.pending = Sub(lambda: None, dict)
        except Exception as error:
            self.settled = Settled(error=error)

    def close(self, over: Suspended) -> None:
        """Not by ``close()``: where a coroutine waits for another, that would leave the inner one as it is."""
        with suppress(Exception, Suspended, Unforeseen):
            for _ in range(DEEPEST):
                _discard(self.routine.throw(over))

    @property
    def failed(self) -> bool:
        """Whether it has ended with an error, which is told to the branch that waits for it."""
        return self.settled is not None and self.settled.error is not None

    # steps that are called

    def local(self, name: str) -> str:
        """The key of a step that is called here. Raises FlowError if there was one of this name, StepFailed if it
        has failed, and the flow has gone on."""
        self._go_on()
        key, job = self.keys.called(name), self.replay.job
        if key is None:
            raise self._fail(
                FlowError(
                    f"Flow {job.id} ({job.task}) calls step {name!r} twice, or its name begins with a colon or with a "
                    'number and a slash. Give each a name of its own: step(f"page {number}", ...).'
                )
            )
        raised = job.recorded.get(f"{RAISED}{key}")
        if raised is not None:
            raise self._failure(key, decode(raised, type=Error))
        if key not in job.recorded and self.keys.unseen:
            raise self._fail(self._changed(f"it comes to step {key!r}"))
        return key

    def raised(self, key: str, error: Exception) -> Exception:
        """A step that was called has raised this. It is remembered once the flow has gone on."""
        if isinstance(error, (FlowError, Verdict)):  # what they say, they say of the flow
            return error
        told = describe(error, STEP_FRAMES)
        self.lost[f"{RAISED}{key}"] = encode(told).decode()
        return self._failure(key, told)

    def _failure(self, key: str, error: Error) -> StepFailed:
        job = self.replay.job
        reason = f"{error.type}: {error.message}"
        text = f"Step {key!r} of flow {job.id} ({job.task}) failed: {reason}"
        return StepFailed(text, job_id=job.id, attempts=job.attempt, reason=reason, traceback=error.traceback)

    def going_on(self) -> None:
        self.replay.survive()

    def _go_on(self) -> None:
        """Code that has caught what ended the flow's attempt gets no further by it. Nor does code that was told
        to stop: a step of a ``finally`` clause would be recorded before what comes before it."""
        if self.replay.fault is not None:
            raise self.replay.fault
        if self.replay.job.cancelled:
            raise Interrupted("told to stop")

    def unrecorded(self, error: StoreUnavailable) -> BaseException:
        """What to raise when a step could not be recorded."""
        return self.replay.away(error)

    def _fail(self, error: FlowError) -> FlowError:
        self.replay.fault = error  # whatever the code does with it
        return error

    def check(self) -> None:
        """Raises FlowChanged if it has come to its end, or cannot go on, and has not met all that it met before:
        more has happened since, so that it would have come at least as far."""
        if self.keys.unseen and self.settled is not None:
            raise self._changed("it ends")
        if self.keys.unseen and self.pending is not None:
            raise self._changed(f"it waits for {self.replay.names_of(self.pending.open())}")

    def _changed(self, found: str) -> FlowChanged:
        return self.replay.changed(found, next(iter(self.keys.unseen)))

    def versioned(self, name: str) -> bool:
        """See `ostinato.flow.versioned`."""
        self._go_on()
        key = self.keys.once(f"version:{name}")
        if key in self.replay.job.recorded:
            return True
        if self.keys.unseen:
            return False
        self.replay.job.record(key, "true")
        return True

    # waits

    def begin(self, item: Any) -> Pending:
        """Begin what the code wants to wait for. Raises FlowError for what cannot be waited for."""
        if isinstance(item, Job):
            return Child(*self._step(self.keys.next(item.task), item))
        if isinstance(item, (list, tuple)):
            return self._all(item)
        if iscoroutine(item):
            made = self.replay.branch(self.keys.line(), item)
            return Sub(lambda: made.settled, lambda: made.lost if made.failed else {})
        if isinstance(item, Wait):
            return self._begin(item)
        raise FlowError(
            f"Flow {self.replay.job.id} ({self.replay.job.task}) waits for {text_of(item)[:200]}, which is no job. "
            "A flow can wait for jobs (task.job(...)), lists of them, and what ostinato.flow offers; anything else "
            "goes into a job or a step."
        )

    def _begin(self, item: Wait) -> Pending:
        if isinstance(item, Pending):
            return item
        if isinstance(item, Gather):
            return self._all(item.items, item.return_exceptions)
        if isinstance(item, Run):
            placement = Placement(item.options, clock.now())
            return self._child(self.keys.next(item.job.task), placement.apply(item.job, ""))
        if isinstance(item, First):
            return FirstOf(self.replay.job, self.keys.own("first"), [self.begin(one) for one in item.items])
        if isinstance(item, Begin):
            return Ready([self.begin(one) for one in item.items])
        if isinstance(item, Sleep):
            return self._timer(self.keys.next("sleep"), item.duration)
        if isinstance(item, Approval):
            return self._child(self.keys.next("approval"), item.job, item.schema)
        if isinstance(item, Signal):
            return self._event(item)
        raise TypeError(item)

    def _all(self, items: Sequence[Any], return_exceptions: bool = False) -> Pending:
        if not all(isinstance(item, Job) for item in items):
            return All([self.begin(one) for one in items], return_exceptions)
        steps = [self._step(self.keys.next(job.task), job) for job in items]
        return Children([job_id for job_id, _ in steps], [known for _, known in steps], return_exceptions)

    def _child(self, step: tuple[str, str], job: Job, schema: Any = None) -> Child:
        return Child(*self._step(step, job), schema)

    def _step(self, step: tuple[str, str], job: Job) -> tuple[str, Step | None]:
        """The id of the step's job, and what is known of it; of a new one nothing is."""
        key, job_id = step
        known = self.replay.known.get(key)
        if known is not None:
            return known.id, known
        flow = self.replay.job.id
        self.replay.posts[job_id] = self._checked(replace(job, id=job_id, flow=flow, parent=flow, step=key))
        return job_id, None

    def _checked(self, job: Job) -> Job:
        try:
            self.replay.job.check(job)
        except (PostError, ConfigError) as error:
            flow = self.replay.job
            raise FlowError(f"Flow {flow.id} ({flow.task}) cannot have step {job.step!r}: {error}") from None
        return rising(job, clock.now(), self.replay.job.rise)

    def _timer(self, step: tuple[str, str], duration: int) -> Child:
        return self._child(step, replace(_TIMER, expires_at=clock.now() + duration))

    def _event(self, item: Signal) -> Pending:
        name = f"{item.name}/{item.key}"
        key, timeout = self.keys.own(f"event:{name}"), self.keys.next(f"timeout {name}")
        recorded = self.replay.job.recorded.get(key)
        if recorded is not None:
            return Ready.of_event(recorded, item)
        job = signal_job(item.name, item.key)
        self.replay.posts[job.id] = job
        timer = None if item.timeout is None else self._timer(timeout, item.timeout)
        return Event(self.replay.job, key, item, (job.id, self.replay.other(job.id)), timer)


def _discard(item: Any) -> None:
    """Close the coroutines in it: they will not be begun."""
    if iscoroutine(item):
        item.close()
    parts = item.items if isinstance(item, (Gather, First, Begin)) else item
    for part in parts if isinstance(parts, (list, tuple)) else ():
        _discard(part)
