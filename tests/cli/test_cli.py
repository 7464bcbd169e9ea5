from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from contextlib import suppress

import pytest
from terminal_harness import Cli, read_until  # type: ignore[import-not-found]

from ostinato.cli import post
from ostinato.cli.opening import opened_store
from ostinato.model import SECOND, Backoff, Policy
from ostinato.options import POST_OPTIONS
from ostinato.storage import JobQuery
from ostinato.units import moment


def test_version_and_help(cli: Cli) -> None:
    assert cli.run("--version").stdout.startswith("ostinato ")
    shown = cli.run("--help").stdout
    for verb in ("demo", "work", "post", "jobs", "show", "logs", "wait", "cancel", "rerun", "ps", "doctor"):
        assert f"\n  {verb} " in shown
    assert cli.run().stdout == shown


def test_post_run_and_look(cli: Cli) -> None:
    added, failed = cli.post("app.add", "a=4", "--tag", "sums"), cli.post("app.fail")
    program = cli.post("--command", "echo", "hi", "--wait")
    cli.drain()

    jobs = {job["id"]: job for job in cli.json("jobs")}
    assert list(jobs) == [program, failed, added]
    assert jobs[added]["state"] == jobs[program]["state"] == "succeeded"
    assert jobs[failed]["state"] == "failed"
    assert [job["id"] for job in cli.json("jobs", "--tag", "sums")] == [added]
    assert [job["id"] for job in cli.json("jobs", "--state", "failed", "--state", "cancelled")] == [failed]
    assert [job["id"] for job in cli.json("jobs", "--task", "app.add", "--queue", "default")] == [added]
    assert [job["id"] for job in cli.json("jobs", "--limit", "1")] == [program]
    assert cli.json("jobs", "--queue", "nowhere") == []
    table = cli.run("jobs").stdout
    assert table.startswith("ID")
    assert "no such luck" in table

    shown = cli.json("show", added)
    assert (shown["result"], shown["args"], shown["tags"]) == (5, {"a": 4}, ["sums"])
    assert [one["outcome"] for one in shown["attempts"]] == ["success"]
    text = cli.run("show", failed).stdout
    assert failed in text
    assert "ValueError: no such luck" in text

    lines = [json.loads(line) for line in cli.run("logs", added).stdout.splitlines()]
    assert [line["msg"] for line in lines] == ["adding 4 1", "attempt 1 ended: success"]
    assert cli.run("logs", added, "--json").stdout == cli.run("logs", added, "-f").stdout
    assert "hi --wait" in cli.run("logs", program, "--attempt", "1").stdout
    assert "no attempt 2" in cli.run("logs", program, "--attempt", "2", code=3).stderr


def test_wait(cli: Cli) -> None:
    good, bad = cli.post("app.add", "a=1"), cli.post("app.fail")
    assert cli.run("wait", good, "--timeout", "0", code=5).stdout == f"{good} ready\n"
    assert cli.json("wait", good, "--timeout", "10ms", code=5)[0]["state"] == "ready"
    cli.drain()
    assert cli.run("wait", good).stdout == f"{good} succeeded\n"
    assert [one["state"] for one in cli.json("wait", good, bad, code=1)] == ["succeeded", "failed"]
    cli.run("wait", "0" * 26, code=3)
    cli.run("wait", good, "--timeout", "soon", code=2)


def test_post_and_wait_for_the_result(cli: Cli) -> None:
    with cli.working():
        done = cli.run("post", "app.add", "a=4", "--wait", "b=5")
        assert done.stdout == "9\n"
        assert "No executor" not in done.stderr
        assert cli.json("post", "app.greet", 'name="you"', "--queue", "mail", "--wait")["result"] == "hello you"
        assert "no such luck" in cli.run("post", "app.fail", "--wait", code=1).stderr
        failed = cli.json("post", "app.fail", "--wait", code=1)
        assert (failed["state"], failed["kind"]) == ("failed", "JobFailed")
    late = cli.run("post", "app.add", "a=4", "--wait", "--wait-timeout", "0", code=5)
    assert "It will wait: no executor is running" in late.stderr


def test_post_checks_against_the_app(cli: Cli) -> None:
    job = cli.json("show", cli.post("app.greet", "name=7", "times=2", "--app", "app.py", "--priority", "high"))
    assert job["args"] == {"name": "7", "times": 2}
    assert (job["queue"], job["priority"]) == ("mail", 100)
    assert "int" in cli.run("post", "app.add", "a=x", "--app", "app", code=6).stderr
    assert cli.json("post", "app.add", "c=1", "--app", "app", code=6)["kind"] == "ArgumentError"
    assert "Did you mean 'app.add'?" in cli.run("post", "app.ad", "a=1", "--app", "app", code=3).stderr
    assert "no module 'nope'" in cli.run("post", "app.add", "--app", "nope", code=2).stderr
    (cli.folder / "broken.py").write_text("import app\nraise OSError('the disk')\n")
    assert "OSError: the disk" in cli.run("post", "app.add", "--app", "broken.py", code=2).stderr
    assert len(cli.json("jobs")) == 1


def test_post_without_the_app(cli: Cli) -> None:
    words = ("unknown.task", "x=[1,2]", "y=text", "z=null", "--delay", "1h", "--queue", "far")
    job = cli.json("show", cli.json("post", *words)["id"])
    assert job["args"] == {"x": [1, 2], "y": "text", "z": None}
    assert (job["state"], job["queue"]) == ("scheduled", "far")
    assert "KEY=VALUE" in cli.run("post", "unknown.task", "x", code=2).stderr
    assert "no duration" in cli.run("post", "unknown.task", "--delay", "soon", code=2).stderr
    assert "high" in cli.run("post", "unknown.task", "--priority", "hihg", code=2).stderr


def test_post_a_script(cli: Cli) -> None:
    (cli.folder / "nightly.py").write_text("import sys; print(sys.argv[1:]); sys.exit(len(sys.argv) - 3)")
    job = cli.post("--script", "nightly.py", "--full", "--wait")
    cli.drain()
    assert cli.json("show", job)["state"] == "succeeded"
    assert "['--full', '--wait']" in cli.run("logs", job).stdout


def test_cancel_and_rerun(cli: Cli) -> None:
    job = cli.post("app.add", "a=1")
    assert cli.run("rerun", job, code=6).stderr.endswith("(it is ready).\n")
    assert cli.run("cancel", job, "--reason", "not today").stdout == f"{job} cancelled\n"
    assert cli.json("show", job)["reason"] == "not today"
    refused = cli.json("cancel", job, "0" * 26, code=6)
    assert [one["kind"] for one in refused] == ["Refused", "JobNotFound"]
    assert cli.run("rerun", job[-6:].lower()).stdout == f"{job} ready\n"
    cli.run("rerun", "0" * 26, code=3)
    cli.run("rerun", "ABCDEF", code=3)
    cli.post("app.add", "a=1")
    assert "fits 2 jobs" in cli.run("cancel", job[:4], code=2).stderr


def test_cancel_a_running_job(cli: Cli) -> None:
    fifo = cli.fifo()
    job = cli.post("app.hold", f"fifo={fifo}")
    with cli.working() as worker:
        read_until(worker, "started")
        # it may have ended by the time that its state is looked at
        assert cli.run("cancel", job).stdout in (f"{job} cancelling\n", f"{job} cancelled\n")
        read_until(worker, "cancelled")
    assert cli.json("wait", job, code=1)[0]["state"] == "cancelled"


def test_wrong_usage(cli: Cli) -> None:
    assert "Did you mean 'jobs'?" in cli.run("jbos", code=2).stderr
    assert "--state" in cli.run("jobs", "--stat", "failed", code=2).stderr
    assert cli.json("jobs", "--limit", "0", code=2)["kind"] == "UsageError"
    assert "lives inside one process" in cli.run("jobs", "--url", "memory://", code=2).stderr
    assert cli.json("jobs", "--url", "sqlit:///x.db", code=2)["kind"] == "ConfigError"
    cli.run("post", "--script", "--command", "x", code=2)
    cli.run("show", code=2)


def test_a_store_that_cannot_be_used(cli: Cli) -> None:
    for verb in (["jobs"], ["ps"], ["show", "0" * 26], ["cancel", "0" * 26]):
        answer = cli.json(*verb, code=4)
        assert answer["kind"] == "StoreUnavailable"
        assert "There is no store jobs.db yet" in answer["error"]
    assert not (cli.folder / "jobs.db").exists()  # looking makes nothing
    (cli.folder / "jobs.db").write_text("this is no database, " * 500)
    assert cli.json("jobs", code=4)["kind"] == "StoreCorrupt"
    cli.run("post", "x", "--url", "sqlite:///no/such/folder/jobs.db", code=4)
    cli.run("work", "app", "--url", "sqlite:///no/such/folder/jobs.db", code=4)


def test_ps(cli: Cli) -> None:
    fifo = cli.fifo()
    cli.post("app.hold", f"fifo={fifo}")
    cli.post("old.cleanup", "--queue", "mail")
    assert "2 jobs to run: no executor is running" in cli.run("ps").stdout
    with cli.working("app", "--queues", "default,mail", "--slots", "4", "--name", "mine") as worker:
        read_until(worker, "started")
        seen = cli.json("ps")
        (executor,) = seen["executors"]
        assert {name: executor[name] for name in ("name", "slots", "busy", "running", "alive")} == {
            "name": "mine", "slots": 4, "busy": 1, "running": {"app.hold": 1}, "alive": True,
        }  # fmt: skip
        assert {queue["name"]: queue["jobs"] for queue in seen["queues"]} == {
            "default": {"running": 1}, "mail": {"ready": 1},
        }  # fmt: skip
        text = cli.run("ps").stdout
        assert "██······ 1/4" in text
        assert "app.hold ×1" in text
        assert '1 job in queue mail: no executor knows task "old.cleanup"' in text
        cli.run("post", "app.add", "a=1", "--queue", "far")
        assert 'no executor takes task "app.add" from queue "far"' in cli.run("ps").stdout
        worker.kill()
        worker.wait()
        assert "is gone; 1 job of it about to be rescued" in cli.run("ps").stdout


def test_ps_tells_that_a_machine_is_too_busy(cli: Cli) -> None:
    (cli.folder / "ostinato.toml").write_text("max_memory = 0.001")
    with cli.working("app"):
        cli.run("post", "app.add", "a=1")
        seen = ""
        while "(overloaded)" not in seen:
            seen = cli.run("ps").stdout
        assert "takes no jobs, its machine is busy: memory" in seen
        assert cli.json("ps")["executors"][0]["overloaded"].endswith("(mark 0%)")


def test_work_drains_at_the_first_signal(cli: Cli) -> None:
    fifo = cli.fifo()
    job = cli.post("app.hold", f"fifo={fifo}")
    with cli.working("app", "--grace", "1m") as worker:
        read_until(worker, "started")
        worker.terminate()
        read_until(worker, "draining")
        assert cli.json("show", job)["state"] == "running"
        later = cli.post("app.add", "a=1")
        fifo.write_text("now")
        read_until(worker, "stopped")
        assert worker.wait(30) == 0
    assert cli.json("show", job)["result"] == "now"
    assert cli.json("show", later)["state"] == "ready"


def test_work_stops_at_the_second_signal(cli: Cli) -> None:
    fifo = cli.fifo()
    job = cli.post("app.hold", f"fifo={fifo}")
    with cli.working("app", "--grace", "1h") as worker:
        read_until(worker, "started")
        worker.terminate()
        read_until(worker, "draining")
        assert cli.json("ps")["executors"][0]["busy"] == 1
        worker.send_signal(signal.SIGINT)
        read_until(worker, "stopping now")
        assert worker.wait(30) == 0
    shown = cli.json("show", job)
    assert shown["state"] == "ready"  # handed back, at no cost
    assert [one["outcome"] for one in shown["attempts"]] == ["interrupted"]


def test_work_exits_at_the_third_signal(cli: Cli) -> None:
    fifo = cli.fifo()
    cli.post("app.stubborn", f"fifo={fifo}")
    with cli.working("app", "--grace", "1h") as worker:
        read_until(worker, "started")
        worker.terminate()
        read_until(worker, "draining")
        assert cli.json("ps")["executors"][0]["busy"] == 1
        worker.send_signal(signal.SIGINT)
        read_until(worker, "stopping now")
        while worker.poll() is None:
            worker.terminate()
            with suppress(subprocess.TimeoutExpired):
                worker.wait(0.1)
    assert worker.returncode == 130


def test_work_with_the_executor_of_the_app(cli: Cli) -> None:
    job = cli.post("app.greet", "name=you", "--queue", "anything")
    with cli.working("app.py:executor") as worker:
        assert cli.json("wait", job, "--timeout", "30")[0]["state"] == "succeeded"
        assert cli.json("ps")["executors"][0]["name"] == "of-the-app"
        worker.terminate()
        assert worker.wait(30) == 0
    assert "Did you mean 'executor'?" in cli.run("work", "app:executer", code=2).stderr
    assert "leave out --slots" in cli.run("work", "app:executor", "--slots", "2", code=2).stderr
    assert "no file nope.py" in cli.run("work", "nope.py", code=2).stderr


def test_work_in_a_package(cli: Cli) -> None:
    package = cli.folder / "pack" / "age"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "jobs.py").write_text("from ostinato import task\n@task\ndef one() -> int:\n    return 1\n")
    job = cli.post("pack.age.jobs.one")
    cli.run("work", "pack/age/jobs.py", "--until-idle")
    assert cli.json("show", job)["result"] == 1


def test_work_tells_events_as_json(cli: Cli) -> None:
    job = cli.post("app.add", "a=1")
    lines = [json.loads(line) for line in cli.run("work", "app", "--until-idle", "--json").stdout.splitlines()]
    kinds = [line["kind"] for line in lines if line.get("job_id") == job]
    assert {"start", "success"} <= set(kinds)
    assert lines[0]["tasks"] == ["app.add", "app.fail", "app.greet", "app.hold", "app.stubborn"]
    assert next(line["result"] for line in lines if line["kind"] == "success") == 2


def test_logs_follow_a_running_job(cli: Cli) -> None:
    fifo = cli.fifo()
    job = cli.post("app.hold", f"fifo={fifo}")
    with cli.started("logs", "-f", job) as follower, cli.working():
        assert json.loads(read_until(follower, "holding"))["job"] == job
        assert "half-way" in cli.run("jobs").stdout
        fifo.write_text("now")
        read_until(follower, "let go now")
        read_until(follower, "attempt 1 ended: success")
        assert follower.wait(30) == 0


def test_doctor(cli: Cli) -> None:
    cli.post("app.add", "a=1")
    cli.drain()
    with cli.working():
        checks = {check["name"]: check for check in cli.json("doctor")["checks"]}
    assert {check["outcome"] for name, check in checks.items() if name != "disk"} == {"ok"}, checks
    assert set(checks) >= {"store", "schema", "durability", "clock", "executors", "log store", "spool", "disk",
                           "processes", "PDEATHSIG", "python", "time zones"}  # fmt: skip
    text = cli.run("doctor").stdout
    assert "! executors    none is running" in text
    (cli.folder / "taken").write_text("a file, no folder")
    broken = cli.json("doctor", "--log-store", "taken/logs", code=1)["checks"]
    assert [check["name"] for check in broken if check["outcome"] == "failed"] == ["log store"]
    missing = cli.json("doctor", "--url", "sqlite:///nope.db", code=4)["checks"]
    assert missing[0]["outcome"] == "failed"


def test_doctor_sees_logs_of_the_dead(cli: Cli) -> None:
    fifo = cli.fifo()
    job = cli.post("app.hold", f"fifo={fifo}")
    with cli.working() as worker:
        with cli.started("logs", "-f", job) as follower:
            read_until(follower, "holding")
        worker.kill()
        worker.wait()
    (spool,) = [check for check in cli.json("doctor")["checks"] if check["name"] == "spool"]
    assert spool["outcome"] == "warning"
    assert "1 log to be uploaded" in spool["said"]


def _on_a_terminal(cli: Cli, *words: str, **environ: str) -> str:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        cli.argv(*words), cwd=cli.folder, env={**cli.environ, "TERM": "xterm", "COLUMNS": "100", **environ},
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    try:
        while data := os.read(ours, 65536):
            said += data
    except OSError:  # how a terminal says that nobody is there any more
        pass
    os.close(ours)
    assert process.wait(30) == 0, said
    return said.decode()


def test_colours_only_on_a_terminal(cli: Cli) -> None:
    job = cli.post("app.add", "a=1")
    assert "\x1b[" in _on_a_terminal(cli, "work", "app", "--until-idle")
    for words in (["jobs"], ["show", job], ["ps"], ["logs", job]):
        assert "\x1b[" not in cli.run(*words).stdout
    for words in (["jobs"], ["logs", job]):
        assert "\x1b[" in _on_a_terminal(cli, *words)
        assert "\x1b[3" not in _on_a_terminal(cli, *words, NO_COLOR="1")  # bold may stay
    assert "INFO" in _on_a_terminal(cli, "logs", job)
    assert '"level":30' in _on_a_terminal(cli, "logs", job, "--json")


def test_a_closed_pipe_is_no_failure(cli: Cli) -> None:
    job = cli.post("app.add", "a=1")
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        cli.argv("show", job), cwd=cli.folder, env=cli.environ, stdout=write_end, stderr=subprocess.PIPE, text=True
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, "")


def test_plugins_add_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    import click

    from ostinato import hooks
    from ostinato.cli.main import cli as group
    from ostinato.cli.main import run
    from ostinato.plugins import manager

    class Plugin:
        @hooks.hookimpl
        def ostinato_commands(self, group: click.Group) -> None:
            group.add_command(click.Command("hum", callback=lambda: click.echo("hm")))
            group.add_command(click.Command("jobs", callback=lambda: click.echo("stolen")))

    manager().register(Plugin(), "hummer")
    try:
        group._asked = False  # type: ignore[attr-defined]
        assert run(["hum"]) == 0
        assert capsys.readouterr().out == "hm\n"
        assert run(["--help"]) == 0
        assert "\n  hum" in capsys.readouterr().out
        assert run(["jobs", "--help"]) == 0
        assert "newest first" in capsys.readouterr().out
    finally:
        manager().unregister(name="hummer")
        group.commands.clear()


def test_pretty_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    import click

    from ostinato.cli.pretty import pretty

    record = {"level": 50, "time": 1_700_000_000_123, "pid": 1, "job": "x", "msg": "it broke", "rows": 3, "who": "a b",
              "err": {"type": "ValueError", "message": "no", "stack": "Traceback\nValueError: no"}}  # fmt: skip
    text = click.unstyle(pretty(json.dumps(record)))
    assert text.partition(" ")[2] == 'ERROR it broke rows=3 who="a b"\nTraceback\nValueError: no'
    for odd in ("", "plain text", "[1]", '{"level":30}', '{"level":"x","time":"y"}', '{"level":30,"time":1e300}'):
        assert pretty(odd) == odd


def test_copy(cli: Cli) -> None:
    job = cli.post("app.add", "a=1")
    cli.drain()
    later = cli.post("app.add", "a=2")
    said = cli.run("copy", "sqlite:///jobs.db", "sqlite:///new.db").stdout
    assert said == "copied 2 jobs with 1 attempt: sqlite:///jobs.db → sqlite:///new.db\n"
    assert cli.json("copy", "sqlite:///jobs.db", "sqlite:///new.db") == {"jobs": 0, "known": 2, "attempts": 0}
    assert cli.json("show", job, "--url", "sqlite:///new.db")["state"] == "succeeded"
    cli.run("work", "app", "--url", "sqlite:///new.db", "--until-idle")
    assert cli.json("show", later, "--url", "sqlite:///new.db")["result"] == 3
    assert "There is no store" in cli.run("copy", "sqlite:///nowhere.db", "sqlite:///new.db", code=4).stderr
    with cli.working():
        assert "Stop them" in cli.run("copy", "sqlite:///jobs.db", "sqlite:///new.db", code=2).stderr


def test_schedules(cli: Cli) -> None:
    assert "next 20" in cli.run("schedules", "add", "nightly", "app.add", "a=1", "--cron", "0 3 * * *").stdout
    cli.run("schedules", "add", "then", "app.add", "a=2", "--after", "nightly", "--app", "app")
    assert "replace=True" in cli.run("schedules", "add", "then", "app.add", "a=3", "--every", "1h", code=2).stderr
    assert [one["name"] for one in cli.json("schedules")] == ["nightly", "then"]
    assert "cron 0 3 * * *" in cli.run("schedules").stdout
    assert len(cli.json("schedules", "next", "nightly", "--count", "3")) == 3
    assert cli.run("schedules", "pause", "nightly").stdout == "nightly paused\n"
    assert cli.json("schedules")[0]["paused"] is True
    job = cli.run("schedules", "run", "nightly").stdout.strip()
    cli.run("cancel", job)
    assert f" ago: job {job} of schedule nightly was cancelled" in cli.run("schedules").stdout
    cli.run("schedules", "resume", "nightly")
    job = cli.run("schedules", "run", "nightly").stdout.strip()
    days = ("--from", "2026-03-01", "--until", "2026-03-05")
    assert cli.json("schedules", "backfill", "nightly", *days, "--dry-run")["ticks"] == 4
    assert cli.run("schedules", "backfill", "nightly", *days).stdout == "4 ticks posted\n"
    cli.drain()
    shown = cli.json("show", job)
    assert (shown["schedule"], shown["state"], shown["result"]) == ("nightly", "succeeded", 2)
    assert len(cli.json("jobs", "--tag", "schedule:nightly")) == 6
    assert len(cli.json("jobs", "--tag", "schedule:then")) >= 1
    cli.run("schedules", "remove", "nightly", code=2)
    cli.run("schedules", "remove", "then")
    assert "There are: nightly" in cli.run("schedules", "run", "then", code=2).stderr
    assert "is no time" in cli.run("schedules", "backfill", "nightly", "--from", "x", "--until", "y", code=2).stderr


def test_post_takes_all_that_the_executor_takes() -> None:
    assert {one.name for one in post.command.params} > POST_OPTIONS


def test_post_passes_all_options_on(cli: Cli) -> None:
    lead = ("--deadline", "1h", "--deadline-lead", "1m")
    where = ("--runner", "thread", "--timeout", "2m", "--grace", "3s", "--max-attempts", "4", "--backoff", "0.5")
    bounds = ("--sink", "0", "--on-lost", "fail", "--memory", "1G", "--cpu", "90s", "--files", "64", "--nice", "5")
    job_id = cli.post("app.add", "a=1", "--run-at", "2126-03-01T08:00+01:00", *lead, *where, *bounds)
    with opened_store(None) as store:
        (row,) = store.find(JobQuery(ids=(job_id,))).rows
    job = row.job
    assert moment(job.run_at).isoformat() == "2126-03-01T07:00:00+00:00"
    assert job.deadline - job.promote_at == 60 * SECOND
    assert job.policy == Policy(
        runner="thread",
        timeout=120 * SECOND,
        grace=3 * SECOND,
        max_attempts=4,
        backoff=Backoff(first=0.5, factor=1.0, limit=0.5, jitter=0.0),
        sink=0,
        on_lost="fail",
        deadline_lead=60 * SECOND,
        memory=2**30,
        cpu=90 * SECOND,
        files=64,
        nice=5,
    )
    assert "is no time" in cli.run("post", "app.add", "a=1", "--run-at", "soon", code=2).stderr


def test_post_after_others(cli: Cli) -> None:
    first, failed = cli.post("app.add", "a=1"), cli.post("app.fail")
    then = cli.post("app.add", "a=2", "--after", first[-6:], "--after", failed, "--after-failure", "run")
    never = cli.post("app.add", "a=3", "--after", failed)
    assert cli.json("show", then)["after"] == [first, failed]
    assert f"waits for {first}, {failed}" in cli.run("jobs", "--state", "blocked").stdout
    assert f"waits for  {first}, {failed}" in cli.run("show", then).stdout
    assert f"app.add (job {first}, ready)" in cli.run("explain", then).stdout
    cli.run("post", "app.add", "a=1", "--after", "0" * 26, code=3)
    assert "after=" in cli.run("post", "app.add", "a=1", "--after-failure", "run", code=2).stderr
    cli.drain()
    assert [one["state"] for one in cli.json("wait", then, never, code=1)] == ["succeeded", "cancelled"]


@pytest.mark.parametrize("mark", ["cpu", "memory", "load"])
def test_work_takes_marks_of_the_load(cli: Cli, mark: str) -> None:
    assert f"max_{mark}=-1.0" in cli.run("work", "app", f"--max-{mark}", "-1", code=2).stderr
