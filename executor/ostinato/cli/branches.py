"""The tree of a flow, drawn: one line a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from ostinato.cli.remarks import remark
from ostinato.cli.terminal import coloured, plain, seconds
from ostinato.status import JobStatus, job_status
from ostinato.tree import Node

MANY = 10
"""So many steps in a row with the same task and state are drawn; of more the first and the last."""
Line = tuple[str, str, str, str, str]


def drawn(node: Node, now: int, whole: bool, stem: str = "", fork: str = "") -> Iterator[Line]:
    """Name, state, how long, id and what is worth saying, for it and all below it."""
    status = job_status(node.row, [], now)
    words = "" if status.state == "succeeded" else plain(remark(status))
    yield plain(stem + fork + node.name), coloured(status.state), took(status, now), status.id, words
    under = stem + {"": "", "├─ ": "│  ", "└─ ": "   "}[fork]
    below = [*node.called.items(), *(node.nodes if whole else _few(node.nodes))]
    for at, one in enumerate(below):
        fork = "└─ " if at == len(below) - 1 else "├─ "
        if isinstance(one, Node):
            yield from drawn(one, now, whole, under, fork)
        elif isinstance(one, str):
            yield plain(under + fork + one), "", "", "", ""
        else:
            yield plain(under + fork + one[0]), "", "", "", plain(f"= {one[1][:80]}")


def _few(nodes: Sequence[Node]) -> Iterator[Node | str]:
    for _, group in groupby(nodes, lambda one: (one.row.job.task, one.row.state)):
        alike = list(group)
        if len(alike) <= MANY:
            yield from alike
            continue
        yield from alike[: MANY // 2]
        yield f"… {len(alike) - MANY // 2 - 1} more, {alike[0].row.state}"
        yield alike[-1]


def took(job: JobStatus, now: int) -> str:
    """How long it ran, or runs, or waits: of what has run several times, since it was posted."""
    if job.state in ("scheduled", "ready"):
        return ""
    begun = job.posted_at if job.started_at is None or job.attempt > 1 else job.started_at
    passed = (job.ended_at.timestamp() if job.ended_at else now / 1e6) - begun.timestamp()
    return seconds(max(0.0, passed))
