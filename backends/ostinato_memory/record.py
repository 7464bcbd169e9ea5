"""One job as the memory store keeps it: mutable inside, handed out as a frozen Row."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from ostinato.model import FINAL, After, Attempt, Error, Job, Row, State
from ostinato_memory.lane import Lane


class Record:
    """All that is known of one job.

    ``sequence`` is its place among all posted jobs, ``position`` its place among those of its
    priority (negative for ``front`` jobs). ``ends`` are its ended attempts by the token under
    which they were reported: a report that comes twice is known by it. ``after`` is what it waits for
    by rule, ``awaits`` the jobs of it that have not ended.
    """

    __slots__ = (
        "after",
        "attempt",
        "awaits",
        "cancelling",
        "charged",
        "checkpoint",
        "deaths",
        "ended_at",
        "ends",
        "error",
        "executor_id",
        "expires_at",
        "job",
        "lane",
        "lease_until",
        "position",
        "posted_at",
        "priority",
        "progress",
        "reason",
        "result",
        "run_at",
        "sequence",
        "started_at",
        "state",
        "steps",
        "token",
    )

    def __init__(self, job: Job, lane: Lane, state: State, now: int) -> None:
        self.job = job
        self.lane = lane
        self.state: State = state
        self.sequence = 0
        self.position = 0
        self.priority = job.priority
        self.token = 0
        self.attempt = 0
        self.charged = 0
        self.deaths = 0
        self.executor_id: str | None = None
        self.lease_until: int | None = None
        self.run_at = job.run_at
        self.expires_at = job.expires_at
        self.posted_at = now
        self.started_at: int | None = None
        self.ended_at: int | None = None
        self.cancelling = False
        self.result: str | None = None
        self.error: Error | None = None
        self.reason = ""
        self.progress: str | None = None
        self.checkpoint: str | None = None
        self.steps: dict[str, str] = {}
        self.after: After | None = None
        self.awaits: dict[str, None] = {}
        self.ends: dict[int, Attempt] = {}

    def restore(self, row: Row, attempts: Sequence[Attempt]) -> None:
        """Become what the job was in another store."""
        for name in row.__struct_fields__:
            if name in self.__slots__:
                setattr(self, name, getattr(row, name))
        self.ends = {attempt.number: attempt for attempt in attempts}
        self.steps = dict(row.steps)
        self.awaits = {} if row.after is None else dict.fromkeys(row.after.jobs)

    @property
    def final(self) -> bool:
        return self.state in FINAL

    @property
    def pending(self) -> bool:
        """Whether it waits to be run, for whatever reason."""
        return self.state != "running" and self.state not in FINAL

    def row(self, executor_id: str | None = None, brief: bool = False) -> Row:
        """The job as it is now; ``executor_id`` stands in for the owner if given. What it waits for may be long."""
        waits = self.after is not None and self.awaits and not brief
        return Row(
            job=self.job,
            state=self.state,
            priority=self.priority,
            token=self.token,
            attempt=self.attempt,
            charged=self.charged,
            deaths=self.deaths,
            executor_id=executor_id or self.executor_id,
            lease_until=self.lease_until,
            run_at=self.run_at,
            expires_at=self.expires_at,
            posted_at=self.posted_at,
            started_at=self.started_at,
            ended_at=self.ended_at,
            cancelling=self.cancelling,
            result=self.result,
            error=self.error,
            reason=self.reason,
            progress=self.progress,
            checkpoint=self.checkpoint,
            after=replace(self.after, jobs=tuple(self.awaits)) if self.after is not None and waits else None,
            steps={} if brief else dict(self.steps),
        )
