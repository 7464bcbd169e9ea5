"""Signs of life and rescue, of executors that cannot be looked at from here."""

from __future__ import annotations

import chores

from ostinato import clock
from ostinato.model import ExecutorInfo
from ostinato.plugins import open_store
from ostinato.storage import Want


def test_a_job_of_another_machine_is_rescued_when_its_lease_runs_out(make_executor, url, tmp_path):
    """However the beats of the rescuer fall: none may put the rescue off for ever."""
    url = url.replace("memory://", f"memory://{tmp_path.name}")
    executor = make_executor(url, lease=0.6)
    store = open_store(url)
    store.open()
    executor.start()
    for number in range(3):
        other = f"0000000000000000000000000{number}"
        late = executor.post(chores.add.job(number), queue="elsewhere", runner="thread")
        info = ExecutorInfo(
            id=other,
            host="another",
            name="other",
            pid=1,
            process=1,
            started_at=clock.now(),
            slots=1,
            queues=("elsewhere",),
        )
        lease = 600_000 + 37_000 * number
        store.renew(info, [], lease)
        want = Want(tasks={"chores.add": 1}, queues=("elsewhere",), slots=1, capacity=1, count=1, lease=lease)
        (row,) = store.claim(other, want).rows
        assert row.job.id == late.id
        ends = clock.steady() + 10_000_000
        while late.status().state != "ready":
            assert clock.steady() < ends, late.status()
            late.wait(0.02)
        assert [(a.outcome, a.executor_id) for a in late.status().attempts] == [("lost", other)]
        late.cancel()
    store.close()


def test_an_executor_is_not_idle_before_what_it_rescued_has_run(make_executor, url, tmp_path):
    url = url.replace("memory://", f"memory://{tmp_path.name}")
    executor = make_executor(url)
    orphan = executor.post(chores.add.job(1), runner="thread")
    store = open_store(url)
    store.open()
    want = Want(tasks={"chores.add": 1}, slots=1, capacity=1, count=1, lease=1)
    (row,) = store.claim("00000000000000000000000009", want).rows
    assert row.job.id == orphan.id
    executor.start()
    assert executor.wait(10)
    assert [one.outcome for one in orphan.status().attempts] == ["lost", "success"]
    store.close()
