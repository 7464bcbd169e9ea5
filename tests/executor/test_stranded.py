"""Jobs that nobody can run are told, with the reason and what would help."""

from __future__ import annotations

import chores
import pytest

from ostinato import Job
from ostinato.storage import Count
from ostinato.stranded import stranded
from ostinato.testing.samples import info

LIVING = [
    info("a", tasks={"t": 2, "u": 1}, queues=("default",), slots=4),
    info("b", tasks={"t": 1}, queues=("m*",), slots=8),
]


@pytest.mark.parametrize(
    ("count", "why"),
    [
        (Count("default", "t", "ready", 5, 2, 4), ""),
        (Count("mail", "t", "scheduled", 5, 1, 8), ""),
        (Count("default", "v", "ready", 5), "knows task"),
        (Count("default", "u", "blocked", 5, 2), r"version 2 of task \"u\" (the newest is 1)".replace("\\", "")),
        (Count("mail", "t", "ready", 5, 2), 'from queue "mail"'),
        (Count("mail", "u", "ready", 5), "--queues mail"),
        (Count("default", "t", "ready", 5, 1, 5), "no executor has more than 4"),
        (Count("mail", "t", "ready", 5, 1, 9), "--slots 9"),
    ],
)
def test_each_reason(count, why):
    found = stranded([count, Count("q", "w", "running", 1), Count("q", "w", "failed", 1)], LIVING)
    if not why:
        assert found == []
        return
    (one,) = found
    assert (one.task, one.queue, one.version, one.slots, one.jobs) == (
        count.task,
        count.queue,
        count.version,
        count.slots,
        5,
    )
    assert why in one.why


def test_an_executor_tells_what_no_executor_can_run(make_executor):
    executor = make_executor(slots=2)
    executor.post([Job(task="chores.add", version=7), Job(task="chores.add", version=7)])
    executor.post(chores.add.job(1), slots=3)
    executor.post(chores.add.job(1), delay=3600)
    assert {one.why for one in executor.stranded()} == {"no executor is running → ostinato work APP"}
    with executor:
        assert [(one.version, one.slots, one.jobs) for one in executor.stranded()] == [(1, 3, 1), (7, 1, 2)]
