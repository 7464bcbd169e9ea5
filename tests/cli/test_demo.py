from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from terminal_harness import Cli, read_until  # type: ignore[import-not-found]

from ostinato.cli.demo_tasks import digest
from ostinato.cli.failover import Failover


def test_nothing_is_lost(cli: Cli) -> None:
    kept = cli.folder / "kept"
    answer = json.loads(cli.run("demo", "--limit", "40", "--keep", str(kept), "--json").stdout)
    assert (answer["ok"], answer["killed"]) == (True, ["executor-1"])
    assert (answer["files"], answer["jobs"], answer["succeeded"]) == (40, 40, 40)
    assert (answer["lost"], answer["twice"], answer["wrong"]) == (0, 0, 0)
    assert answer["attempts"] == 40 + answer["rescued"]
    assert answer["definitions"] > 0
    assert answer["compressed"] < answer["size"]

    url = ["--url", answer["url"]]
    jobs = cli.json("jobs", "--limit", "100", *url)
    assert {job["state"] for job in jobs} == {"succeeded"}
    assert sum(len(job["attempts"]) for job in jobs) == answer["attempts"]
    assert "definitions" in cli.run("logs", answer["example"], *url).stdout
    assert "There is a demo" in cli.run("demo", "--keep", str(kept), code=2).stderr


def test_it_tells_what_happens_without_a_terminal(cli: Cli) -> None:
    source = cli.folder / "own"
    source.mkdir()
    for number in range(30):
        (source / f"part{number}.py").write_text("def one():\n    pass\n\n\n" * 2000)
    (source / "odd.py").write_text("this is no Python")
    said = cli.run("demo", str(source), "--keep", "kept", "--slots", "1").stdout
    for text in (
        "posted 31 jobs",
        "executor-1 killed with SIGKILL: ",
        "executor-3 is started in its place",
        "jobs rescued",
        "✓ Nothing lost: 31 of 31 files",
        "ostinato jobs --url sqlite:///",
    ):
        assert text in said
    assert "60,000" in said  # definitions
    assert "\x1b" not in said


def test_wrong_folders(cli: Cli) -> None:
    assert "There is no folder nope" in cli.run("demo", "nope", code=2).stderr
    (cli.folder / "empty").mkdir()
    assert cli.json("demo", "empty", code=2)["kind"] == "ConfigError"


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_it_takes_its_executors_along(cli: Cli) -> None:
    with cli.started("demo", "--keep", "kept") as demo:
        read_until(demo, "jobs/s")  # a quarter is done: both executors run
        demo.send_signal(signal.SIGTERM)
        demo.wait(60)
    mine = str(cli.folder).encode()
    assert not [pid for pid in os.listdir("/proc") if pid.isdecimal() and mine in _command_line(pid)]


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has just ended
        return b""


def test_the_check_sees_what_is_lost_twice_or_wrong(cli: Cli) -> None:
    """The demo's verdict is worth nothing if it cannot be bad."""
    from ostinato import TaskExecutor
    from ostinato.plugins import open_store

    files = [str(cli.folder / f"{name}.py") for name in ("good", "lost", "twice", "changed")]
    for file in files:
        Path(file).write_text("x = 1\n")
    with TaskExecutor("sqlite:///jobs.db", slots=2) as executor:
        executor.post([digest.job(files[0]), digest.job(files[2]), digest.job(files[2]), digest.job(files[3])])
        assert executor.wait(30)
    executor.close()
    Path(files[3]).write_text("x = 2\n")

    store = open_store("sqlite:///jobs.db")
    store.open()
    summary = Failover(store, "sqlite:///jobs.db", ".", files, 2).check("logs")
    store.close()
    assert (summary.ok, summary.lost, summary.twice, summary.wrong) == (False, 1, 1, 1)


def test_the_task(tmp_path: Path) -> None:
    file = tmp_path / "one.py"
    file.write_text("class A:\n    def b(self): ...\nasync def c(): ...\n")
    found = digest(str(file))
    assert (found.definitions, found.size) == (3, file.stat().st_size)
    assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
