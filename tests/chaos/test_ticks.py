"""Sixteen executors in four processes keep one schedule, and are killed at random: one job a tick.

``OSTINATO_TEST_FULL=1`` lets it last a minute, on all stores that processes can share, instead of some seconds on two.
"""

from __future__ import annotations

import os
import random
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import tick_tasks
from members import Worker
from s3_servers import wait_until
from stores import EMPTY, NewUrl, on_empty_stores

from ostinato import TaskExecutor
from ostinato.book import Book
from ostinato.model import SECOND, Row
from ostinato.storage import JobQuery

FULL = bool(os.environ.get("OSTINATO_TEST_FULL"))
SECONDS = 60 if FULL else 5
PROCESSES, EACH = 4, 4
SHARED = [name for name in EMPTY if name != "memory"] if FULL else ["sqlite", "valkey"]


class Crowd:
    """Processes with executors. One that is killed is replaced while the others go on."""

    def __init__(self, url: str, folder: Path) -> None:
        self._start = lambda: Worker(url, str(folder), str(EACH), program="tick_member.py")
        self._starting = ThreadPoolExecutor(PROCESSES)
        self._members = [self._starting.submit(self._start) for _ in range(PROCESSES)]
        self.dice = random.Random(6)
        self.kills = 0
        wait_until(lambda: all(one.done() for one in self._members))

    def kill(self) -> None:
        """Anyone of those that have started, the last one also."""
        victim: Future[Worker] = self.dice.choice([one for one in self._members if one.done()] or self._members)
        self._members.remove(victim)
        victim.result().kill()
        self._members.append(self._starting.submit(self._start))
        self.kills += 1

    def close(self) -> None:
        for one in self._members:
            one.result().kill()
        self._starting.shutdown()


@pytest.mark.timeout(240)
@on_empty_stores(*SHARED)
def test_one_job_a_tick_whoever_is_killed(new_url: NewUrl, tmp_path: Path) -> None:
    url, ledger = new_url(), tmp_path / "ledger"
    here = TaskExecutor(url, log_store=f"{tmp_path}/logs", spool=f"{tmp_path}/spool")
    here.schedule("pulse", tick_tasks.heard.job(str(ledger)), every=1, catch_up="all", overlap="allow")
    (anchor,) = (page.schedule.anchor for page in Book(here._store).read().values())
    crowd, never = Crowd(url, tmp_path), threading.Event()
    began = here._store.now()
    try:
        while (now := here._store.now()) < began + SECONDS * SECOND:
            # when a tick is due they are at work; some are killed in the middle of it
            until_tick = (SECOND - (now - anchor) % SECOND) / SECOND
            never.wait(until_tick + crowd.dice.uniform(-0.005, 0.03) * crowd.dice.choice([1, 1, 10]))
            crowd.kill()
        newest = here._store.now() - SECOND
        wait_until(lambda: (posted(here)[-1].job.tick or 0) >= newest)
        wait_until(lambda: all(row.state == "succeeded" for row in posted(here)), 60)
    finally:
        crowd.close()
    rows = posted(here)
    here.close()

    ticks = [row.job.tick or 0 for row in rows]
    assert ticks == [anchor + number * SECOND for number in range(1, len(rows) + 1)]
    ran = [line.split()[1] for line in ledger.read_text().splitlines()]
    assert set(ran) >= {row.job.id for row in rows if row.state == "succeeded"}
    late = sorted((row.posted_at - (row.job.tick or 0)) / SECOND for row in rows)
    print(
        f"{len(rows)} ticks, as many jobs, {crowd.kills} kills of {EACH} executors each, {len(ran) - len(set(ran))} "
        f"made again; a job is posted {late[len(late) // 2]:.3f} s after its tick (median), at most {late[-1]:.3f} s"
    )


def posted(executor: TaskExecutor) -> list[Row]:
    rows = executor._store.find(JobQuery(oldest_first=True, limit=10_000)).rows
    return sorted(rows, key=lambda row: row.job.tick or 0)
