"""The child's side of a flow: its code is run again from the start, and what it waits for is answered
from the record, until it comes to something that has not happened yet.

    code ─ waits for ─► Pending ─ poll ─► recorded: send it in, go on
                                     └──► not yet: all branches wait ─► suspended, with the new steps to post

Steps are known by their key: the name and how often that name was met in the same branch (`Branch`), so
that neither the order in which branches go on nor a step more elsewhere confuses them. The id of a step's
job is made of the flow's id and the key, so that posting it again does nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Coroutine, Generator, Iterable, Sequence
from inspect import iscoroutine
from typing import Any

from msgspec.structs import replace

from ostinato import clock
from ostinato.codec import text_of
from ostinato.current import CurrentJob
from ostinato.errors import ConfigError, FlowChanged, FlowError, PostError
from ostinato.flow import Approval, Begin, First, Gather, Run, Signal, Sleep, Wait
from ostinato.ids import derived_id
from ostinato.model import TIMER, After, Job, Outcome, Step
from ostinato.options import Placement, rising
from ostinato.pending import All, Child, Event, FirstOf, Pending, Ready, Settled, Sub
from ostinato.signals import signal_job

Routine = Generator[Any, Any, Any] | Coroutine[Any, Any, Any]
_PATH = re.compile(r"((?:\d+\.)*\d+/)?")
_TIMER = Job(task=TIMER, kind="timer", default="null")


class Suspended(Exception):
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
        while replay.advance():
            pass
        if replay.fault is not None:
            raise replay.fault
        if main.settled is None:
            raise Suspended(replay.suspend())
        if main.settled.error is not None:
            raise main.settled.error
        main.check()
        return main.settled.value
    finally:
        replay.close()


class Replay:
    """One pass over the code of a flow."""

    def __init__(self, job: CurrentJob) -> None:
        self.job = job
        self.known: dict[str, Step] = {}
        self.posts: dict[str, Job] = {}
        self.fault: FlowError | None = None
        self._others: dict[str, Step | None] = {}
        self._branches: list[Branch] = []
        self._unseen: dict[str, dict[str, None]] = {}
        self._load()

    def _load(self) -> None:
        for step in self._told(None) if self.job.attempt > 1 else ():
            self.known[step.name] = step
        for key in (*self.known, *self.job.recorded):
            self._unseen.setdefault(_path(key), {})[key] = None

    def _told(self, ids: Sequence[str] | None) -> Iterable[Step]:
        cursor: str | None = None
        while True:
            steps, cursor = self.job.line.ask(ids, cursor)
            yield from steps
            if cursor is None:
                return

    def other(self, job_id: str) -> Step | None:
        """A job that is no step of this flow, as it was when it was first asked for in this pass."""
        if job_id not in self._others:
            self._others[job_id] = next(iter(self._told([job_id])), None) if self.job.attempt > 1 else None
        return self._others[job_id]

    def branch(self, path: str, routine: Routine) -> Branch:
        made = Branch(self, path, routine, self._unseen.setdefault(path, {}))
        self._branches.append(made)
        return made

    def advance(self) -> bool:
        """Let every branch go on as far as it can; whether any of them got anywhere."""
        moved = [branch.advance() for branch in tuple(self._branches)]  # those that begin now have their turn next
        return any(moved) and self.fault is None and self._branches[0].settled is None

    def suspend(self) -> Outcome:
        for branch in self._branches:
            branch.check()
        waits = [branch.pending for branch in self._branches if branch.settled is None and branch.pending is not None]
        waits = [one for one in waits if one.open()]
        ids = list(dict.fromkeys(job_id for one in waits for job_id in one.open()))
        first = len(waits) > 1 or not all(one.all for one in waits)
        return Outcome(
            kind="suspended",
            reason=f"waits for {self.names_of(ids)}",
            posts=tuple(self.posts.values()),
            after=After(tuple(ids), "run", first),
        )

    def names_of(self, ids: Sequence[str]) -> str:
        names = {step.id: key for key, step in self.known.items()}
        names |= {job_id: post.step or post.task for job_id, post in self.posts.items()}
        shown = ", ".join(names.get(job_id, job_id) for job_id in ids[:3])
        return shown + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")

    def close(self) -> None:
        for branch in reversed(self._branches):
            branch.routine.close()


class Branch:
    """One line of code of the flow: its own, or a coroutine that it gathers. ``path`` tells them apart."""

    def __init__(self, replay: Replay, path: str, routine: Routine, unseen: dict[str, None]) -> None:
        self.replay = replay
        self.path = path
        self.routine = routine
        self.pending: Pending | None = None
        self.settled: Settled | None = None
        self._unseen = unseen
        self._counts: Counter[str] = Counter()
        self._names: set[str] = set()

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
            self._resume(came)
        return moved

    def _resume(self, came: Settled) -> None:
        self.replay.job.scope = self
        try:
            item = self.routine.send(came.value) if came.error is None else self.routine.throw(came.error)
            self.pending = self.begin(item)
        except StopIteration as stop:
            self.settled = Settled(stop.value)
        except FlowError as error:
            self.replay.fault = error
        except Exception as error:
            self.settled = Settled(error=error)

    # keys

    def key(self, name: str) -> str:
        """The key of the next step of this name."""
        self._counts[name] += 1
        return f"{self.path}{name}#{self._counts[name]}"

    def local(self, name: str) -> str:
        """The key of a step that is called here. Raises FlowError if there was one of this name."""
        key, job = self.met(f"{self.path}{name}"), self.replay.job
        if name in self._names or _path(name):
            raise self._fail(
                FlowError(
                    f"Flow {job.id} ({job.task}) calls step {name!r} twice, or its name begins with a number and a "
                    'slash. Give each a name of its own: step(f"page {number}", ...).'
                )
            )
        self._names.add(name)
        if key not in job.recorded and self._unseen:
            raise self._fail(self._changed(f"it comes to step {key!r}"))
        return key

    def _fail(self, error: FlowError) -> FlowError:
        self.replay.fault = error  # whatever the code does with it
        return error

    def met(self, key: str) -> str:
        """The code has come to this step."""
        self._unseen.pop(key, None)
        return key

    def check(self) -> None:
        """Raises FlowChanged if it has come to its end, or cannot go on, and has not met all that it met before:
        more has happened since, so that it would have come at least as far."""
        if self._unseen and self.settled is not None:
            raise self._changed("it ends")
        if self._unseen and self.pending is not None:
            raise self._changed(f"it waits for {self.replay.names_of(self.pending.open())}")

    def _changed(self, found: str) -> FlowChanged:
        expected = next(iter(self._unseen))
        job = self.replay.job
        return FlowChanged(
            f"Flow {job.id} ({job.task}) no longer fits its record: {found}, but step {expected!r} is expected, which "
            f"it met before. It is parked. Bring back the code that makes this step, or guard the change with "
            f'flow.versioned("..."), then: ostinato rerun {job.id}'
        )

    def versioned(self, name: str) -> bool:
        """See `ostinato.flow.versioned`."""
        key = self.met(f"{self.path}version:{name}")
        if key in self.replay.job.recorded:
            return True
        if self._unseen:
            return False
        self.replay.job.record(key, "true")
        return True

    # waits

    def begin(self, item: Any) -> Pending:
        """Begin what the code wants to wait for. Raises FlowError for what cannot be waited for."""
        if isinstance(item, Job):
            return self._child(self.key(item.task), item)
        if isinstance(item, (list, tuple)):
            return All([self.begin(one) for one in item])
        if iscoroutine(item):
            made = self.replay.branch(f"{self.path.rstrip('/')}{'.' if self.path else ''}{self._number()}/", item)
            return Sub(lambda: made.settled)
        if isinstance(item, Wait):
            return self._begin(item)
        raise FlowError(
            f"Flow {self.replay.job.id} ({self.replay.job.task}) waits for {text_of(item)[:200]}, which is no job. "
            "A flow can wait for jobs (task.job(...)), lists of them, and what ostinato.flow offers; anything else "
            "goes into a job or a step."
        )

    def _number(self) -> int:
        self._counts["/"] += 1
        return self._counts["/"]

    def _begin(self, item: Wait) -> Pending:
        if isinstance(item, Pending):
            return item
        if isinstance(item, Gather):
            return All([self.begin(one) for one in item.items], item.return_exceptions)
        if isinstance(item, Run):
            placement = Placement(item.options, clock.now())
            return self._child(self.key(item.job.task), placement.apply(item.job, ""))
        if isinstance(item, First):
            return FirstOf(self.replay.job, self.met(self.key("first")), [self.begin(one) for one in item.items])
        if isinstance(item, Begin):
            return Ready([self.begin(one) for one in item.items])
        if isinstance(item, Sleep):
            return self._timer(self.key("sleep"), item.duration)
        if isinstance(item, Approval):
            return self._child(self.key("approval"), item.job, item.schema)
        if isinstance(item, Signal):
            return self._event(item)
        raise TypeError(item)

    def _child(self, key: str, job: Job, schema: Any = None) -> Child:
        self.met(key)
        flow = self.replay.job.id
        job_id = derived_id(flow, key)
        if key not in self.replay.known:
            self.replay.posts[job_id] = self._checked(replace(job, id=job_id, flow=flow, parent=flow, step=key))
        return Child(job_id, self.replay.known.get(key), schema)

    def _checked(self, job: Job) -> Job:
        try:
            self.replay.job.check(job)
        except (PostError, ConfigError) as error:
            flow = self.replay.job
            raise FlowError(f"Flow {flow.id} ({flow.task}) cannot have step {job.step!r}: {error}") from None
        return rising(job, clock.now(), self.replay.job.rise)

    def _timer(self, key: str, duration: int) -> Child:
        return self._child(key, replace(_TIMER, expires_at=clock.now() + duration))

    def _event(self, item: Signal) -> Pending:
        key = self.met(self.key(f"event:{item.name}/{item.key}"))
        recorded = self.replay.job.recorded.get(key)
        if recorded is not None:
            self.met(f"{key} timeout")
            return Ready.of_event(recorded, item)
        job = signal_job(item.name, item.key)
        self.replay.posts[job.id] = job
        timer = None if item.timeout is None else self._timer(f"{key} timeout", item.timeout)
        return Event(self.replay.job, key, item, (job.id, self.replay.other(job.id)), timer)


def _path(key: str) -> str:
    found = _PATH.match(key)
    return found[0] if found is not None else ""
