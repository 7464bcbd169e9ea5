"""``ostinato flow``, ``watch``, ``approve``, ``reject``, ``signal`` and ``replay-check``."""

from __future__ import annotations

import json
import os

import pytest
from terminal_harness import Cli, read_until  # type: ignore[import-not-found]

FLOWS = """
from typing import Literal

from ostinato import flow, task

@task(runner="thread")
def count(word: str) -> int:
    return len(word)

@task(runner="thread")
def open_file(path: str) -> str:
    return open(path).read()

@task(flow=True, runner="thread")
async def paper(words: list[str]) -> str:
    number = flow.step("number", lambda: 7)
    counts = await flow.gather(*(count.job(word) for word in words))
    grade = await flow.approve("Publish it?", schema=Literal["good", "bad"], assignee="kim", timeout="2h")
    address = await flow.event("address", number, timeout="1h")
    return f"{sum(counts)} {grade} {address}"

@task(flow=True, runner="thread")
async def volume(words: list[str]) -> str:
    return await paper.job(words)

@task(flow=True, runner="thread")
async def reading(path: str) -> str:
    before = await count.job("x")
    return await open_file.job(path)
"""


@pytest.fixture
def flows(cli: Cli) -> Cli:
    (cli.folder / "flows.py").write_text(FLOWS)
    return cli


def drain(cli: Cli) -> None:
    cli.run("work", "flows", "--until-idle")


def asked(cli: Cli) -> str:
    (one,) = [one for one in cli.json("jobs", "--state", "waiting") if one["question"]]
    return str(one["id"])


def test_a_flow_from_beginning_to_end(flows: Cli) -> None:
    handle = flows.post("flows.volume", 'words=["a","bc"]')
    drain(flows)

    listed = flows.run("jobs", "--state", "waiting").stdout
    assert '"Publish it?" for kim, until' in listed
    question = asked(flows)
    shown = flows.json("show", question)
    assert shown["question"]["title"] == "Publish it?"
    assert shown["step"] == "approval#1"
    text = flows.run("show", question).stdout
    assert 'asks       "Publish it?" for kim' in text
    assert '{"enum":["bad","good"]}' in text
    paper = flows.json("flow", handle)["steps"][0]
    assert shown["flow"] == shown["parent"] == paper["id"]
    assert f"step       approval#1 of flow {paper['id']}" in text

    lines = [line.split() for line in flows.run("flow", handle).stdout.splitlines()]
    assert lines[0] == ["STEP", "STATE", "TIME", "ID"]
    assert lines[1][:2] == ["flows.volume", "blocked"]
    assert lines[2][:3] == ["└─", "flows.paper", "blocked"]
    assert lines[3] == ["├─", "number", "=", "7"]
    assert [line[1:3] for line in lines[4:]] == [
        ["flows.count#1", "succeeded"], ["flows.count#2", "succeeded"], ["approval", "waiting"],
    ]  # fmt: skip
    assert lines[6][-1].startswith("2h") or "1h59m)" in lines[6]
    assert paper["called"] == {"number": 7}

    explained = flows.json("explain", paper["id"])["reasons"][0]
    assert explained["help"] == f"ostinato approve {question}"
    assert explained["names"] == [question]
    assert f"ostinato approve {question}" in flows.run("explain", question).stdout

    assert flows.json("approve", question, "--value", "fine", code=6)[0]["kind"] == "AnswerError"
    assert flows.run("approve", question[-8:], "--value", "good", "--by", "kim").stdout == f"{question} succeeded\n"
    assert "answered by kim" in flows.run("approve", question, "--value", "bad", code=6).stderr
    drain(flows)
    assert "event address 7" in flows.run("flow", handle).stdout
    assert "any of the event address 7, a time: " in flows.run("explain", paper["id"]).stdout
    assert flows.run("signal", "address", "7", "--payload", "Ostinato Street").stdout == "address 7 given\n"
    assert flows.json("signal", "address", "7") == {"name": "address", "key": "7", "given": False}
    drain(flows)
    assert flows.json("show", handle)["result"] == "3 good Ostinato Street"


def test_a_refusal(flows: Cli) -> None:
    handle = flows.post("flows.paper", "words=[]")
    drain(flows)
    question = asked(flows)
    assert flows.json("reject", question, "--reason", "too thin", "--by", "kim") == [
        {"id": question, "state": "failed", "cancelling": False}
    ]
    flows.run("reject", question, code=6)
    flows.run("reject", handle, code=6)
    drain(flows)
    assert "kim said no to 'Publish it?': too thin" in flows.run("show", handle).stdout


def test_many_alike_are_drawn_as_few(flows: Cli) -> None:
    handle = flows.post("flows.paper", f"words={json.dumps(['x'] * 30)}")
    drain(flows)
    assert "├─ … 24 more, succeeded\n├─ flows.count#30" in "\n".join(
        line.partition(" succeeded ")[0].rstrip() for line in flows.run("flow", handle).stdout.splitlines()
    ).replace("  ", "")
    assert flows.run("flow", handle, "--all").stdout.count("flows.count#") == 30
    assert len(flows.json("flow", handle)["steps"]) == 31


def test_a_job_is_a_tree_of_itself(flows: Cli) -> None:
    job = flows.post("flows.count", "word=abc")
    assert len(flows.run("flow", job[-6:]).stdout.splitlines()) == 2
    flows.run("flow", "0" * 26, code=3)


def test_rerun_of_a_flow_mends_its_step(flows: Cli) -> None:
    handle = flows.post("flows.reading", "path=missing.txt")
    drain(flows)
    assert "FileNotFoundError" in flows.run("flow", handle).stdout
    (flows.folder / "missing.txt").write_text("found")
    assert flows.run("rerun", handle).stdout == f"{handle} ready\n"
    drain(flows)
    assert flows.json("show", handle)["result"] == "found"


def test_watch(flows: Cli) -> None:
    handle = flows.post("flows.volume", 'words=["a"]')
    with flows.started("watch", handle, "--exit-status") as watcher:
        read_until(watcher, f"{handle} flows.volume ready")
        with flows.working("flows"):
            read_until(watcher, "flows.count succeeded")
            read_until(watcher, '"Publish it?" for kim')
            flows.run("reject", asked(flows))
            read_until(watcher, "flows.paper failed")
            assert "said no" in read_until(watcher, f"{handle} flows.volume failed")
        assert watcher.wait(20) == 1
    assert flows.run("watch", handle).stdout.splitlines()[-1].split()[1] == handle
    last = json.loads(flows.run("watch", handle, "--json").stdout.splitlines()[-1])
    assert (last["id"], last["state"]) == (handle, "failed")


def test_watch_gives_up(flows: Cli) -> None:
    handle = flows.post("flows.count", "word=abc")
    assert "It goes on regardless" in flows.run("watch", handle, "--timeout", "0", code=5).stderr


def test_watch_tells_of_progress(cli: Cli) -> None:
    fifo = cli.fifo()
    job = cli.post("app.hold", f"fifo={fifo}")
    with cli.started("watch", job) as watcher, cli.working():
        assert "1/2 half-way" in read_until(watcher, "half-way")
        fifo.write_text("on")
        read_until(watcher, "succeeded")
        assert watcher.wait(20) == 0


def test_replay_check(flows: Cli) -> None:
    handle = flows.post("flows.volume", 'words=["a","bc"]')
    drain(flows)
    assert flows.run("replay-check", "flows").stdout == "2 flows, 0 no longer fit\n"
    assert [one["verdict"] for one in flows.json("replay-check", "flows.py", handle)] == ["fits"]
    code = (flows.folder / "flows.py").read_text()
    os.mkdir(flows.folder / "new")
    (flows.folder / "new" / "flows.py").write_text(code.replace("for word in words)", "for word in words[1:])"))
    before = flows.json("jobs", "--limit", "100")
    told = flows.run("replay-check", "new/flows.py", code=1).stdout
    assert "flows.paper changed: Flow" in told
    assert "'flows.count#2' is expected" in told
    assert told.endswith("2 flows, 1 no longer fits\n")
    assert flows.json("jobs", "--limit", "100") == before
    assert "no such task: flows.paper, flows.volume" in flows.run("replay-check", "app").stderr
    flows.run("replay-check", "flows", "0" * 26, code=3)
