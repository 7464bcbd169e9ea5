"""Attempts in processes of their own: programs, deaths, limits, families, surroundings."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import chores
import pytest
from harness import WAIT, lines, wait_gone

from ostinato import Job, JobCancelled, JobFailed

MB = 2**20


def ended(handle):
    assert handle.wait(WAIT), handle.status()
    return handle.status()


@pytest.mark.parametrize("runner", ["subprocess", "pool"])
@pytest.mark.parametrize(("code", "state"), [(0, "succeeded"), (3, "failed"), (100, "cancelled")])
def test_the_exit_code_of_a_program_says_how_it_ended(executor, tmp_path, runner, code, state):
    script = tmp_path / "script.py"
    script.write_text(f"import sys; sys.exit({code})")
    for job in (Job.script(str(script)), Job.command(["sh", "-c", f"exit {code}"])):
        status = ended(executor.post(job, runner=runner))
        assert status.state == state
        assert status.attempts[0].exit_code == code
        assert code != 3 or status.reason == "exit code 3"


def test_a_program_killed_by_a_signal_says_which(executor):
    status = ended(executor.post(Job.command(["sh", "-c", "kill -USR1 $$"])))
    assert (status.state, status.reason, status.attempts[0].signal) == ("failed", "signal: SIGUSR1", signal.SIGUSR1)


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (Job.command(["/nowhere/at/all"]), r"there is no program '/nowhere/at/all'$"),
        (Job.command(["nowhere-at-all"]), r"there is no program 'nowhere-at-all' on the PATH"),
        (Job.command(["/etc/passwd"]), r"the program '/etc/passwd' cannot be run: Permission denied"),
        (Job.command(["true"], cwd="/nowhere/at/all"), r"FileNotFoundError.*/nowhere/at/all"),
    ],
)
def test_a_program_that_is_not_there_is_told(executor, job, said):
    with pytest.raises(JobFailed, match=f"(?m){said}"):
        executor.post(job).result(WAIT)


def test_a_program_gets_its_arguments_folder_and_environment(executor, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import json, os, sys\n"
        "open('out', 'w').write(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ), sys.stdin.read()]))"
    )
    handle = executor.post(Job.script(str(script), "--full", "ü x", cwd=str(tmp_path), env={"COLOR": "red"}))
    assert handle.result(WAIT) is None
    argv, folder, environ, stdin = json.loads((tmp_path / "out").read_text())
    assert (argv, folder, environ["COLOR"], stdin) == (["--full", "ü x"], str(tmp_path), "red", "")
    ours = {key: value for key, value in environ.items() if key.startswith("OSTINATO_")}
    assert ours == {"OSTINATO_JOB_ID": handle.id, "OSTINATO_ATTEMPT": "1"}


def test_a_program_out_of_time_is_terminated_with_its_children(executor, fifo):
    told = fifo()
    handle = executor.post(Job.command(["sh", "-c", f"sleep 1000 & echo $$ $! > {told}; wait"]), timeout=0.3, grace=5)
    pids = [int(pid) for pid in told.line().split()]
    with pytest.raises(JobFailed, match="timeout"):
        handle.result(WAIT)
    wait_gone(*pids)


@pytest.mark.parametrize("runner", ["subprocess", "pool"])
@pytest.mark.parametrize(
    ("how", "reason", "number"),
    [
        ("segfault", "signal: SIGSEGV", signal.SIGSEGV),
        ("abort", "signal: SIGABRT", signal.SIGABRT),
        ("kill", "signal: SIGKILL", signal.SIGKILL),
        ("terminate", "signal: SIGTERM", signal.SIGTERM),
        ("vanish", "ended without a result (exit code 0)", None),
        ("vanish 9", "ended without a result (exit code 9)", None),
    ],
)
def test_every_way_to_die_is_told_apart(executor, runner, how, reason, number):
    status = ended(executor.post(chores.crash.job(how), runner=runner))
    assert (status.state, status.reason) == ("failed", reason)
    attempt = status.attempts[0]
    assert (attempt.outcome, attempt.signal) == ("died", number)
    assert attempt.cpu is not None
    assert executor.post(chores.add.job(1), runner=runner).result(WAIT) == 1


def test_a_job_that_keeps_dying_is_quarantined(executor):
    status = ended(executor.post(chores.crash.job("abort"), max_attempts=100, backoff=0))
    assert (status.state, len(status.attempts)) == ("failed", 3)
    assert status.reason.startswith("quarantined")


def test_a_child_killed_from_outside_is_noticed_at_once(executor, fifo):
    told = fifo()
    handle = executor.post(chores.hang.job(str(told)))
    pid = int(told.line())
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(JobFailed, match="SIGKILL"):
        handle.result(WAIT)
    assert time.monotonic() - began < 1


def test_a_signal_from_outside_is_a_failure_and_no_stop(executor, fifo, ledger):
    told = fifo()
    handle = executor.post(chores.hang.job(str(told), str(ledger)))
    os.kill(int(told.line()), signal.SIGTERM)
    with pytest.raises(JobFailed, match="signal from outside"):
        handle.result(WAIT)
    assert lines(ledger) == ["interrupted", "cleaned up"]


@pytest.mark.parametrize("runner", ["subprocess", "pool"])
def test_a_memory_limit_is_enforced_and_told(executor, runner):
    handle = executor.post(chores.eat.job(600 * MB), runner=runner, memory="400M")
    with pytest.raises(JobFailed, match="out of memory"):
        handle.result(WAIT)
    assert executor.post(chores.eat.job(600 * MB), runner=runner).result(WAIT) == 600 * MB


@pytest.mark.parametrize("job", [chores.spin.job(), Job.command(["sh", "-c", "while :; do :; done"])])
def test_a_cpu_limit_is_enforced_and_told(executor, job):
    with pytest.raises(JobFailed, match="used more CPU than its limit of 1 s"):
        executor.post(job, cpu=1).result(WAIT)


def test_open_files_and_niceness_are_limited(executor):
    found = executor.post(chores.limits.job(), files=64, nice=7, memory="2G").result(WAIT)
    assert found == {"files": 64, "memory": 2 * 2**30, "nice": 7}
    with pytest.raises(JobFailed, match="Too many open files"):
        executor.post(chores.open_many.job(), files=64).result(WAIT)


def test_cpu_seconds_and_peak_memory_are_recorded(executor):
    handle = executor.post(chores.burn.job(0.3, 100))
    handle.result(WAIT)
    attempt = handle.status().attempts[0]
    assert 0.25 <= attempt.cpu <= 5
    assert 100 * MB <= attempt.peak_memory <= 400 * MB


@pytest.mark.parametrize("then", ["return", "fail", "kill", "hang"])
@pytest.mark.parametrize("runner", ["subprocess"])
def test_nothing_of_an_attempts_family_outlives_it(executor, runner, fifo, then):
    told = fifo()
    handle = executor.post(chores.have_children.job(str(told), then), runner=runner)
    pids = [int(pid) for pid in told.line().split()]
    assert len(pids) == 4
    if then == "hang":
        handle.cancel()
    assert handle.wait(WAIT)
    wait_gone(*pids)


def test_an_attempt_has_a_session_of_its_own_and_nothing_of_ours(executor, monkeypatch):
    monkeypatch.setenv("OSTINATO_URL", "postgresql://me:secret@db/jobs")
    leak = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        found = executor.post(chores.surroundings.job()).result(WAIT)
    finally:
        os.close(leak)
    assert found["pid"] == found["pgid"] == found["sid"] != os.getpid()
    assert found["threads"] == 1
    assert "secret" not in json.dumps(found)
    assert not [name for name in found["environ"] if name.startswith("OSTINATO_")]
    kinds = sorted(
        target.split("/")[1] if target[0] == "/" else target.split(":")[0] for target in found["fds"].values()
    )
    assert kinds.count("socket") == 1, found["fds"]  # to its executor
    assert "pipe" not in kinds, found["fds"]
    assert not [target for target in found["fds"].values() if "passwd" in target or target.endswith(".db")]
    assert len(found["fds"]) <= 7, found["fds"]


@pytest.mark.parametrize("runner", ["subprocess", "pool"])  # in threads, descriptors belong to the whole process
def test_nothing_that_a_job_prints_appears_here(executor, runner, capfd):
    handle = executor.post(chores.say.job("a loud word"), runner=runner)
    handle.result(WAIT)
    out, err = capfd.readouterr()
    assert "loud" not in out + err
    assert handle.logs().count("a loud word") >= 4


def test_a_job_cannot_use_an_executor_but_is_told_what_to_do(executor):
    with pytest.raises(JobFailed, match=r"current_job\(\)\.post"):
        executor.post(chores.use_executor.job()).result(WAIT)


def test_a_script_that_cancels_itself_is_cancelled(executor, tmp_path):
    script = tmp_path / "s.py"
    script.write_text("raise SystemExit(100)")
    with pytest.raises(JobCancelled):
        executor.post(Job.script(str(script))).result(WAIT)


def test_attempts_can_be_spawned_instead_of_forked(make_executor, fifo):
    executor = make_executor(start_method="spawn", slots=1).start()
    assert executor.post(chores.add.job(1, 2)).result(WAIT) == 3
    found = executor.post(chores.surroundings.job()).result(WAIT)
    assert found["pid"] == found["sid"]
    assert not [name for name in found["environ"] if name.startswith("OSTINATO_")]
    told = fifo()
    handle = executor.post(chores.have_children.job(str(told), "return"))
    pids = [int(pid) for pid in told.line().split()]
    assert handle.wait(WAIT)
    wait_gone(*pids)


def test_a_module_that_starts_a_thread_switches_to_spawn_and_says_so(make_executor, tmp_path, monkeypatch, caplog):
    (tmp_path / "threaded_chores.py").write_text(
        "import threading\n"
        "from ostinato import task\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "@task\n"
        "def seven() -> int:\n"
        "    return 7\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import threaded_chores  # type: ignore[import-not-found]

    from ostinato.task import registry

    try:
        executor = make_executor(slots=1).start()
        assert executor.post(threaded_chores.seven.job()).result(WAIT) == 7
        assert "cannot be forked safely: attempts are spawned" in caplog.text
    finally:
        del registry["threaded_chores.seven"], sys.modules["threaded_chores"]


@pytest.mark.parametrize("runner", ["subprocess", "pool"])
def test_jobs_outlive_the_fork_server(make_executor, fifo, runner):
    executor = make_executor(slots=2).start()
    told = fifo()
    handle = executor.post(chores.resume.job(str(told), str(told)), runner=runner)
    told.line()  # attempt 1
    pid = int(told.line())
    server = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(server, signal.SIGKILL)
    assert handle.result(WAIT) == [2, {"page": 7}]
    wait_gone(pid, server)
    assert [one.outcome for one in handle.status().attempts] == ["lost", "success"]
