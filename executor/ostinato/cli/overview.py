"""What goes on in a store, in one look: queues, executors, and what needs attention."""

from __future__ import annotations

from collections import Counter, defaultdict

from msgspec import Struct

from ostinato import host
from ostinato.cli.terminal import counted
from ostinato.model import SECOND, ExecutorInfo, Row
from ostinato.storage import Count, JobQuery, Store
from ostinato.stranded import stranded

MOST_RUNNING = 1000
"""Of more running jobs than so many, the rest is not told apart by executor."""


class QueueView(Struct, frozen=True):
    """How many jobs of a queue are in which state."""

    name: str
    jobs: dict[str, int]


class ExecutorView(Struct, frozen=True, kw_only=True):
    """An executor: ``busy`` of its ``slots`` by ``running`` (jobs per task); ``lease`` is in
    seconds from now, ``alive`` False if it ran out or its process is gone."""

    id: str
    name: str
    pid: int
    slots: int
    busy: int
    running: dict[str, int]
    queues: tuple[str, ...]
    lease: float
    age: float
    alive: bool
    draining: bool
    overloaded: str


class Overview(Struct, frozen=True):
    queues: list[QueueView]
    executors: list[ExecutorView]
    attention: list[str]

    def count(self, state: str) -> int:
        return sum(queue.jobs.get(state, 0) for queue in self.queues)


def look(store: Store) -> Overview:
    now = store.now()
    counts = store.count()
    running = store.find(JobQuery(states=("running",), limit=MOST_RUNNING)).rows
    executors = [_executor(one, running, now) for one in store.executors()]
    living = [one for one in store.executors() if one.lease_until > now and not host.is_dead(one)]
    shown = [one for one in executors if one.alive or one.running]
    return Overview(_queues(counts), shown, _attention(counts, executors, living))


def _queues(counts: list[Count]) -> list[QueueView]:
    queues: dict[str, Counter[str]] = defaultdict(Counter)
    for one in counts:
        queues[one.queue][one.state] += one.jobs
    return [QueueView(name, dict(jobs)) for name, jobs in sorted(queues.items())]


def _executor(info: ExecutorInfo, running: list[Row], now: int) -> ExecutorView:
    own = [row.job for row in running if row.executor_id == info.id]
    return ExecutorView(
        id=info.id,
        name=info.name,
        pid=info.pid,
        slots=info.slots,
        busy=sum(job.slots for job in own),
        running=dict(Counter(job.task for job in own)),
        queues=info.queues,
        lease=(info.lease_until - now) / SECOND,
        age=(now - info.started_at) / SECOND,
        alive=info.lease_until > now and not host.is_dead(info),
        draining=info.draining,
        overloaded=info.overloaded,
    )


def _attention(counts: list[Count], executors: list[ExecutorView], living: list[ExecutorInfo]) -> list[str]:
    lines = [
        f"executor {one.name} ({one.id}) is gone; {counted(sum(one.running.values()), 'job')} of it about to be rescued"
        for one in executors
        if one.running and not one.alive
    ]
    lines += [
        f"executor {one.name} ({one.id}) takes no jobs, its machine is busy: {one.overloaded}"
        for one in executors
        if one.overloaded and one.alive
    ]
    left = stranded(counts, living)
    if living:
        lines += [f"{counted(one.jobs, 'job')} in queue {one.queue}: {one.why}" for one in left]
    elif left:
        lines.append(f"{counted(sum(one.jobs for one in left), 'job')} to run: {left[0].why}")
    failed = sum(count.jobs for count in counts if count.state == "failed")
    if failed:
        lines.append(f"{failed} failed → ostinato jobs --state failed")
    return lines
