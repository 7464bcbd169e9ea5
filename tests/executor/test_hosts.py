"""Applications in processes of their own: how they start, end, are killed and are stopped."""

from __future__ import annotations

import os
import signal
import time

import chores
import pytest
from harness import WAIT, lines, wait_gone

START = """
import sys, threading, chores
from ostinato import TaskExecutor
url, fifo, ledger = sys.argv[1:4]
executor = TaskExecutor(url, slots=2, lease=float(sys.argv[4]) if len(sys.argv) > 4 else 30)
"""

HANG = (
    START
    + """
executor.start()
executor.post(chores.hang.job(fifo, ledger))
"""
)


@pytest.fixture
def sqlite(tmp_path):
    return f"sqlite:///{tmp_path}/jobs.db"


def test_children_die_with_an_executor_that_is_killed(host, fifo, ledger, sqlite):
    told = fifo()
    one = host(
        START + "executor.start()\nexecutor.post(chores.have_children.job(fifo, 'hang'))\nexecutor.wait()",
        sqlite,
        told,
        ledger,
    )
    pids = [int(pid) for pid in told.line().split()]
    os.kill(one.pid, signal.SIGKILL)
    wait_gone(*pids, timeout=1.5)


def test_the_jobs_of_a_killed_executor_are_rescued_at_once_on_its_host(host, fifo, ledger, sqlite, make_executor):
    told = fifo()
    one = host(HANG + "executor.wait()", sqlite, told, ledger, 60)
    told.line()
    other = make_executor(sqlite).start()
    (handle,) = other.jobs()
    began = time.monotonic()
    os.kill(one.pid, signal.SIGKILL)
    told.line()
    assert time.monotonic() - began < 10  # the lease is 60 s
    assert handle.status().attempt == 2
    assert [(a.outcome, a.number) for a in handle.status().attempts] == [("lost", 1)]
    handle.cancel()
    assert handle.wait(WAIT)


def test_an_executor_that_is_stopped_past_its_lease_loses_its_children_and_charges_nothing(
    host, fifo, ledger, sqlite, make_executor
):
    told = fifo()
    one = host(HANG + "executor.wait()", sqlite, told, ledger, 1)
    pid = int(told.line())
    os.kill(one.pid, signal.SIGSTOP)
    try:
        wait_gone(pid, timeout=5)
        assert lines(ledger) == []  # it was killed, not asked
        other = make_executor(sqlite, lease=1).start()
        (handle,) = other.jobs()
        told.line()  # it runs here now
    finally:
        os.kill(one.pid, signal.SIGCONT)
    assert handle.cancel()
    assert handle.wait(WAIT)
    status = handle.status()
    assert [a.outcome for a in status.attempts] == ["lost", "cancelled"]
    assert status.attempts[1].executor_id == other.id


def test_an_executor_alone_that_was_stopped_past_its_lease_goes_on(host, fifo, ledger, sqlite, make_executor):
    told = fifo()
    one = host(HANG + "executor.wait()", sqlite, told, ledger, 2)
    pid = int(told.line())
    os.kill(one.pid, signal.SIGSTOP)
    wait_gone(pid, timeout=10)
    os.kill(one.pid, signal.SIGCONT)
    os.kill(int(told.line()), 0)  # the second attempt
    looker = make_executor(sqlite)
    (handle,) = looker.jobs()
    status = handle.status()
    assert status.attempt >= 2  # stopped in the middle of a beat, it may lose one more
    assert {a.outcome for a in status.attempts} == {"lost"}


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "raise ValueError('the host fails')"])
def test_an_exit_without_stop_leaves_nothing_and_hangs_nowhere(host, fifo, ledger, tmp_path, end):
    told = fifo()
    code = HANG + "import chores\nopen(fifo + '.go').readline()\n" + end
    os.mkfifo(f"{told}.go")
    one = host(code, f"sqlite:///{tmp_path}/jobs.db", told, ledger)
    pid = int(told.line())
    with open(f"{told}.go", "w") as go:
        go.write("\n")
    code, out, err = one.done()
    assert code == {"": 0, "sys.exit(3)": 3}.get(end, 1)
    assert out == ""
    assert "Exception ignored" not in err
    assert ("Traceback" in err) == ("raise" in end)
    wait_gone(pid)
    assert lines(ledger) == ["interrupted", "cleaned up"]


def test_an_exit_hands_the_running_job_back_at_no_cost(host, fifo, ledger, sqlite, make_executor):
    told = fifo()
    one = host(HANG + "threading.Event().wait(0) or open(fifo + '.go').readline()", sqlite, told, ledger)
    os.mkfifo(f"{told}.go") if not os.path.exists(f"{told}.go") else None
    told.line()
    with open(f"{told}.go", "w") as go:
        go.write("\n")
    assert one.done()[0] == 0
    (handle,) = make_executor(sqlite).jobs()
    assert handle.status().state == "ready"
    assert [a.outcome for a in handle.status().attempts] == ["interrupted"]


def test_stop_may_be_called_from_atexit_and_twice(host, fifo, ledger, sqlite):
    code = (
        "import atexit\n" + START + "atexit.register(executor.stop)\natexit.register(executor.stop)\nexecutor.start()\n"
    )
    code += "print(executor.post(chores.add.job(1, 2)).result())"
    assert host(code, sqlite, fifo(), ledger).done() == (0, "3\n", "")


def test_memory_and_its_files_go_with_the_process(host, fifo, ledger):
    code = START + "executor.start()\nexecutor.post(chores.add.job(1))\nexecutor.post(chores.say.job('x'), delay=99)\n"
    code += "print(executor._places.spool)"
    code, out, err = host(code, "memory://", fifo(), ledger).done()
    assert (code, err) == (0, "")
    assert not os.path.exists(out.strip())


SCRIPT = """
import sys
from ostinato import TaskExecutor, task

print("loaded")

@task
def double(n: int) -> int:
    print("only in the log")
    return 2 * n

@task(runner="pool")
def triple(n: int) -> int:
    return 3 * n

with TaskExecutor(sys.argv[1], slots=2) as executor:
    print(executor.post(double.job(4)).result(), executor.post(triple.job(4)).result())
"""


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_pasted_script_without_a_main_guard_works(host, sqlite, start_method, monkeypatch):
    monkeypatch.setenv("OSTINATO_START_METHOD", start_method)
    assert host(SCRIPT, sqlite).done() == (0, "loaded\n8 12\n", "")


def test_a_script_with_a_main_guard_works_too(host, sqlite):
    head, tail = SCRIPT.split("with ")
    guarded = head + 'if __name__ == "__main__":\n    with ' + tail.replace("\n    ", "\n        ")
    assert host(guarded, sqlite).done() == (0, "loaded\n8 12\n", "")


def test_a_task_below_the_start_of_the_executor_is_told_apart(host, sqlite):
    code = SCRIPT + "\n@task\ndef late() -> None: ...\nwith executor:\n    executor.post(late.job()).result()"
    code, _, err = host(code, sqlite).done()
    assert code == 1
    assert "above the code that starts the executor" in err


def test_a_host_with_many_threads_and_locks_runs_jobs(host, fifo, ledger, sqlite):
    code = (
        START
        + """
import logging
locks = [threading.Lock() for _ in range(20)]
begun = threading.Barrier(21)
def hold(lock):
    with lock:
        begun.wait()
        threading.Event().wait()
for lock in [*locks[:19], logging._lock.__class__()]:
    threading.Thread(target=hold, args=(lock,), daemon=True).start()
begun.wait()
with executor:
    handles = executor.post([chores.add.job(n) for n in range(200)])
    print(sum(handle.result(60) for handle in handles))
"""
    )
    assert host(code, sqlite, fifo(), ledger).done(60) == (0, f"{sum(range(200))}\n", "")


def test_a_signal_handler_may_stop_the_executor_twice(host, fifo, ledger, sqlite):
    told = fifo()
    code = (
        HANG
        + """
import signal
signal.signal(signal.SIGTERM, lambda *_: executor.stop(0))
chores.tell(fifo, "ready")
signal.pause()
print("stopped", executor.id)
"""
    )
    one = host(code, sqlite, told, ledger)
    assert "ready" in {told.line(), told.line()}
    one.process.send_signal(signal.SIGTERM)
    one.process.send_signal(signal.SIGTERM)
    code, out, _ = one.done()
    assert (code, out) == (0, "stopped None\n")


def test_ctrl_c_reaches_the_host_and_not_the_job(host, fifo, ledger, sqlite):
    told = fifo()
    heed = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)  # whatever was inherited\n"
    one = host(heed + HANG + "executor.wait()", sqlite, told, ledger)
    told.line()
    one.process.send_signal(signal.SIGINT)
    code, _, err = one.done()
    assert code != 0
    assert "KeyboardInterrupt" in err
    assert lines(ledger) == ["interrupted", "cleaned up"]
    assert chores.add(1) == 1
