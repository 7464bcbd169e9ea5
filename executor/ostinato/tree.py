"""A flow and all that it has begun, as a tree: its steps, theirs, and what it waits for besides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from ostinato.model import OWN, RAISED, SURVIVED, WAITING, Row
from ostinato.search import rows
from ostinato.signals import event_of
from ostinato.stepkeys import path_of
from ostinato.storage import JobQuery, Store

PAGE = 1000


class Node(Struct, frozen=True, kw_only=True):
    """A job of a flow; ``called`` are its local steps: values as JSON, by name."""

    name: str
    row: Row
    called: dict[str, str] = {}
    nodes: tuple[Node, ...] = ()

    def __iter__(self) -> Iterator[Node]:
        """All below it, and then itself."""
        for node in self.nodes:
            yield from node
        yield self


def grow(store: Store, row: Row, name: str = "") -> Node:
    """The tree of a job as the store has it now; of one that is no flow just the job."""
    steps = list(rows(store, JobQuery(flow=row.job.id, oldest_first=True, limit=PAGE))) if _may_have_steps(row) else []
    known = {step.job.id for step in steps}
    others = [] if row.after is None else [job_id for job_id in row.after.jobs if job_id not in known]
    outside = store.find(JobQuery(ids=tuple(others[:PAGE]), limit=PAGE)).rows if others else []
    names = _unnumbered([step.job.step for step in steps])
    return Node(
        name=name or row.job.task,
        row=row,
        called=_called(row),
        nodes=(
            *(grow(store, step, called) for step, called in zip(steps, names, strict=True)),
            *(Node(name=_outside(one), row=one) for one in outside),
        ),
    )


def _called(row: Row) -> dict[str, str]:
    """What was called, and what happened, by names for people."""
    return {
        path_of(key) + key.removeprefix(path_of(key)).removeprefix(OWN): value
        for key, value in row.steps.items()
        if not key.startswith((SURVIVED, RAISED))
    }


def _may_have_steps(row: Row) -> bool:
    """Whether it has ever been suspended, as far as its row tells: most jobs have not."""
    if row.job.kind in WAITING or row.attempt == 0:
        return False
    return row.attempt > 1 or row.state in ("blocked", "ready", "waiting", "cancelled")


def _unnumbered(keys: Sequence[str]) -> list[str]:
    """``count#1`` is ``count`` if there is no second one."""
    known = set(keys)
    return [key[:-2] if key.endswith("#1") and f"{key[:-2]}#2" not in known else key for key in keys]


def _outside(row: Row) -> str:
    return f"event {' '.join(event_of(row.job)).strip()}" if row.job.kind == "signal" else row.job.task
