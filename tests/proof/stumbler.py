"""An executor in one thread whose attempts are cut off at calls that are chosen beforehand.

Attempts run one after the other, each claimed by an executor of its own that dies with it:

    before      it dies before the call
    after       it dies after the call, and before it knows
    late        it is taken for dead, and its run is taken over; then it makes the call, and goes on
    away        the store is away: nothing is done
    unanswered  the store is away before it has answered: all is done
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Literal, NoReturn, TypeVar

from ostinato import answers, attempt, current
from ostinato.errors import StoreUnavailable
from ostinato.lifecycle import decide, lost
from ostinato.model import APPROVAL, Job, Outcome, Row, Step
from ostinato.records import Records
from ostinato.storage import JobQuery, Rescue, Store, Want
from ostinato.task import registry
from ostinato.wire import Order

Kind = Literal["before", "after", "late", "away", "unanswered"]
Cut = tuple[int, Kind]
"""How many calls go well before it."""
MOST_DEATHS = 2
"""A job that was running at a third death is not tried again."""

T = TypeVar("T")


class Dead(BaseException):
    """This executor is no more."""


class Stumbler:
    def __init__(self, store: Store, cuts: Iterable[Cut], dice: Random) -> None:
        self.store = store
        self.dice = dice
        self.cuts = list(cuts)
        self.suffered: Counter[Kind] = Counter()
        self._executors = 0
        self._want = Want(tasks={name: task.version for name, task in registry.items()})

    def turn(self) -> bool:
        """Claim some jobs, and make an attempt at each; False if there was none."""
        rows: list[Row] = []
        for _ in range(self.dice.randint(1, 4)):
            self._executors += 1
            rows += self.store.claim(f"e{self._executors}", self._want).rows
        self.dice.shuffle(rows)
        for row in rows:
            self._attempt(row)
        return bool(rows)

    def _attempt(self, row: Row) -> None:
        line = Line(self, row)
        order = Order(
            job_id=row.job.id,
            token=row.token,
            attempt=row.attempt,
            task=row.job.task,
            args=row.job.args,
            steps=row.steps,
        )
        job = line.job = current.CurrentJob(order, line)
        current.enter(job)
        try:
            line.end(attempt.run(registry[row.job.task], order, job))
        except Dead:
            self.take_over(row)
        finally:
            current.enter(None)

    def finish(self, row: Row, outcome: Outcome) -> bool:
        (applied,) = self.store.finish([(row.fence, decide(row, outcome, self.store.now()))])
        return applied

    def take_over(self, row: Row) -> None:
        for one in self.store.rescue("keeper", Rescue(dead=(row.executor_id or "",))):
            assert self.finish(one, lost(one, self.store.now()))

    def cut(self, row: Row) -> Kind | None:
        """What befalls this call. Nothing, if it is of a run that nobody would try again."""
        if not self.cuts or row.deaths >= MOST_DEATHS:
            return None
        left, kind = self.cuts[0]
        if left == 0:
            self.cuts.pop(0)
            self.suffered[kind] += 1
            return kind
        self.cuts[0] = (left - 1, kind)
        return None

    def answer(self, agrees: Callable[[int], bool]) -> bool:
        """As the persons who were asked; False if nobody was."""
        asked = self.store.find(JobQuery(states=("waiting",), tasks=(APPROVAL,))).rows
        for row in asked:
            number = int(answers.question_of(row).title)
            if agrees(number):
                answers.approve(self.store, row.job.id, number, "kim")
            else:
                answers.reject(self.store, row.job.id, "no", "kim")
        return bool(asked)


class Line:
    """`ostinato.current.Line`, straight to the store; every call may be the last."""

    job: current.CurrentJob

    def __init__(self, stumbler: Stumbler, row: Row) -> None:
        self._stumbler = stumbler
        self._row = row
        self._records = Records(stumbler.store)
        self._dead = False

    def say(self, key: Literal["progress", "checkpoint"], value: str) -> None:
        raise NotImplementedError

    def post(self, jobs: Sequence[Job]) -> list[str]:
        raise NotImplementedError

    def record(self, name: str, value: str) -> None:
        self._call(lambda: self._records.write(self._row, name, value))

    def ask(self, ids: Sequence[str] | None, cursor: str | None) -> tuple[list[Step], str | None]:
        return self._call(lambda: self._records.read(self._row, ids, cursor))

    def end(self, outcome: Outcome) -> None:
        """Report the outcome; again, if the store was away."""
        while True:
            try:
                self._call(lambda: self._stumbler.finish(self._row, outcome))
                return
            except StoreUnavailable:
                continue

    def _call(self, call: Callable[[], T]) -> T:
        kind = None if self._dead else self._stumbler.cut(self._row)
        if self._dead or kind == "before":
            self._die()
        if kind == "away":
            raise StoreUnavailable("away")
        if kind == "late":
            self._stumbler.take_over(self._row)
        answer = call()
        if kind == "after":
            self._die()
        if kind == "unanswered":
            raise StoreUnavailable("away")
        return answer

    def _die(self) -> NoReturn:
        """Its code is told, since it cannot be made to stand still; then it gets no further."""
        self._dead = self.job.cancelled = True
        raise Dead
