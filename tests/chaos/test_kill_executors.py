"""Executors are killed with SIGKILL again and again, and nothing is lost."""

import collections
import signal
import time

import chaos_tasks
import pytest
from members import Worker, gone_within

from ostinato import TaskExecutor

JOBS = 1000
EXECUTORS = 3
KILL_EVERY = 1.0
LIMIT = 100.0


@pytest.mark.timeout(180)
def test_a_thousand_jobs_survive_executors_that_are_killed_every_second(tmp_path):
    url = f"sqlite:///{tmp_path}/jobs.db"
    ledger = tmp_path / "ledger"
    poster = TaskExecutor(url)
    handles = poster.post([chaos_tasks.digest.job(str(ledger), number) for number in range(JOBS)])
    workers = [Worker(url) for _ in range(EXECUTORS)]
    kills = 0
    until = time.monotonic() + LIMIT
    while not handles[-1].wait(KILL_EVERY) or any(not handle.status().is_final for handle in handles):
        assert time.monotonic() < until, "the jobs did not end in time"
        victim = workers.pop(0)
        children = victim.kill()
        kills += 1
        assert not gone_within(children, 1.0), "a child outlived its executor by more than a second"
        workers.append(Worker(url))
    for worker in workers:
        worker.end()

    assert kills >= 3
    runs = collections.Counter(line.split()[0] for line in ledger.read_text().splitlines())
    for handle in handles:
        status = handle.status()
        assert status.state == "succeeded"
        assert [one.number for one in status.attempts] == list(range(1, status.attempt + 1))
        assert [one.outcome for one in status.attempts].count("success") == 1
        assert status.attempts[-1].outcome == "success"
        assert 1 <= runs[handle.id] <= status.attempt
        for one in status.attempts:
            assert one.outcome in ("success", "lost", "interrupted")
            assert isinstance(handle.logs(one.number), str)
        assert "digested" in handle.logs()
    poster.close()
    print(f"{kills} kills, {sum(runs.values()) - JOBS} jobs made twice or more")


def test_a_stopped_executor_leaves_no_child(tmp_path):
    worker = Worker(f"sqlite:///{tmp_path}/jobs.db")
    worker.look()
    children = worker.children
    assert children
    worker.process.send_signal(signal.SIGTERM)
    worker.process.wait(20)
    worker.process.stdout.close()
    assert not gone_within(children, 1.0)
