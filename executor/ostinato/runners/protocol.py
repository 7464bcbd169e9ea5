"""The contract of a runner, and the run that it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from ostinato import clock
from ostinato.model import Fence, Job, Outcome, Row, Step
from ostinato.records import Records
from ostinato.storage import Posted
from ostinato.task import Task
from ostinato.wire import Order

Why = Literal["timeout", "cancel", "shutdown", "lost"]


class Run:
    """One attempt under way: what to do, whom to tell, and whether it was told to stop."""

    __slots__ = (
        "_done",
        "_post",
        "_records",
        "_said",
        "cancel_reason",
        "ended",
        "log_path",
        "order",
        "row",
        "started_at",
        "task",
        "why",
    )

    def __init__(
        self,
        row: Row,
        task: Task[..., object] | None,
        order: Order,
        said: Callable[[Run, str, str], None],
        post: Callable[[Sequence[Job]], list[Posted]],
        done: Callable[[Run, Outcome], None],
        records: Records,
    ) -> None:
        self.row = row
        self.task = task
        self.order = order
        self.log_path = order.log
        self._post = post
        self._said = said
        self._done = [done]
        self._records = records
        self.started_at = clock.now()
        self.why: Why | None = None
        self.cancel_reason = ""
        self.ended = False

    @property
    def fence(self) -> Fence:
        return self.row.fence

    def say(self, key: str, value: str) -> None:
        """Pass on what the attempt notes about itself."""
        self._said(self, key, value)

    def post(self, jobs: Sequence[Job]) -> list[str]:
        """Post for the attempt, at once."""
        return [posted.id for posted in self._post(jobs)]

    def record(self, name: str, value: str) -> None:
        """Record the value of a step."""
        self._records.write(self.row, name, value)

    def ask(self, ids: Sequence[str] | None, cursor: str | None) -> tuple[list[Step], str | None]:
        """What became of the steps of this flow, or of the jobs named: a page, and the cursor for the rest."""
        return self._records.read(self.row, ids, cursor)

    def end(self, outcome: Outcome) -> None:
        """Report the outcome; only the first report counts. From any thread: what reports is taken out
        before it is called, which only one can do, without a lock."""
        try:
            done = self._done.pop()
        except IndexError:
            return
        self.ended = True
        done(self, outcome)


class Runner(Protocol):
    """A way to run attempts. Calls come from several threads; none of them may block for long.

    `run` begins an attempt, which is reported once by ``run.end``. `stop` tells it to stop:
    softly, then by force after ``grace`` microseconds; it still ends by ``run.end``.
    """

    def open(self) -> None:
        """Get ready."""

    def run(self, run: Run) -> None:
        """Begin an attempt."""

    def stop(self, run: Run, why: Why, grace: int) -> None:
        """Make it end."""

    def beat(self, lease_ends: int) -> None:
        """The lease of all attempts was renewed until then (`ostinato.clock.steady`)."""

    def close(self) -> None:
        """End everything that is left, at once."""


def stopped(run: Run, outcome: Outcome) -> Outcome:
    """The outcome of a run that was told to stop, given how it then ended.

    A result that came in spite of a cancel or shutdown is taken: the work is done. One that came
    after the time limit is not: the limit is a promise.
    """
    from msgspec.structs import replace

    if run.why is None:
        if outcome.kind == "interrupted":  # a signal from outside
            return replace(outcome, kind="failure", reason="stopped by a signal from outside")
        return outcome
    if run.why == "timeout":
        limit = (run.row.job.policy.timeout or 0) / 1e6
        return replace(outcome, kind="timeout", reason=f"timeout: ran longer than {limit:g} s", result=None)
    if outcome.kind == "success":
        return outcome
    if run.why == "cancel":
        return replace(outcome, kind="cancelled", reason=run.cancel_reason or "cancelled", error=None)
    if run.why == "lost":
        return replace(outcome, kind="lost", reason="the lease was lost")
    return replace(outcome, kind="interrupted", reason="the executor was stopped")
