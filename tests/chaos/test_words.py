"""Map and reduce over real files while executors are killed: the result is that of a plain loop."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
import word_tasks
from members import Worker
from msgspec.json import decode
from s3_servers import wait_until
from stores import Place, on_every_store

from ostinato import TaskExecutor
from ostinato.storage import JobQuery

FILES = sorted(str(path) for path in Path(os.__file__).parent.glob("[a-z]*.py"))[:120]
KILL_AT = range(10, len(FILES), 30)
"""So many files are counted when an executor is killed."""


@pytest.mark.timeout(180)
@on_every_store("sqlite", "postgres")
def test_executors_that_are_killed_cost_no_word_and_count_none_twice(place: Place, tmp_path: Path) -> None:
    url, ledger = place.named("words"), tmp_path / "ledger"
    ledger.touch()
    poster = TaskExecutor(url, log_store=f"{tmp_path}/logs", spool=f"{tmp_path}/spool")
    workers = [Worker(url) for _ in range(3)]
    handle = poster.post(word_tasks.total.job(str(ledger), FILES))
    try:
        for number in KILL_AT:
            wait_until(lambda number=number: ledger.read_text().count("\n") >= number, 60)
            workers.pop(0).kill()
            workers.append(Worker(url))
        result = handle.result(60)
    finally:
        for worker in workers:
            worker.kill()

    steps = poster._store.find(JobQuery(flow=handle.id, oldest_first=True, limit=1000)).rows
    outcomes = Counter(one.outcome for row in steps for one in poster._store.attempts([row.job.id]))
    poster.close()
    loop: Counter[str] = Counter()
    for path in FILES:
        loop.update(word_tasks.words_of(path))
    assert result["words"] == loop
    assert Counter(result["made"]) == Counter(decode(row.result or "")["made"] for row in steps)
    made = [line.split()[1] for line in ledger.read_text().splitlines()]
    assert set(result["made"]) <= set(made)
    assert outcomes["success"] == len(FILES)
    print(f"{len(FILES)} files, {len(KILL_AT)} kills, {len(made) - len(FILES)} files counted again, {outcomes}")
