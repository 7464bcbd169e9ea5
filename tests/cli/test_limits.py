"""``ostinato queues``, ``resources`` and ``explain``."""

from __future__ import annotations

from terminal_harness import Cli  # type: ignore[import-not-found]


def test_queues(cli: Cli) -> None:
    assert "No queues yet" in (cli.run("queues", "limit", "mail", "--rate", "none") and cli.run("queues")).stderr
    job = cli.post("app.greet", "name=you", "--queue", "mail")
    assert cli.run("queues", "pause", "mail").stdout == "mail paused\n"
    assert cli.run("queues", "pause", "mail").stdout == "mail was paused already\n"
    cli.drain()
    assert cli.json("show", job)["state"] == "ready"
    cli.run("queues", "limit", "mail", "--concurrency", "3", "--rate", "5/2m")
    (queue,) = cli.json("queues")
    assert (queue["of"], queue["name"], queue["jobs"], queue["concurrency"]) == ("queue", "mail", {"ready": 1}, 3)
    assert queue["rate"] == {"count": 5, "seconds": 120}
    assert "process" in queue["paused"]["by"]
    shown = cli.run("queues").stdout
    assert shown.splitlines()[0].split() == [
        "NAME",
        "READY",
        "RUNNING",
        "SCHEDULED",
        "BLOCKED",
        "AT",
        "A",
        "TIME",
        "RATE",
    ]
    assert "5 in 2m00s  paused since" in shown
    assert cli.json("queues", "resume", "mail") == {"queue": "mail", "task": None, "key": None, "done": "resumed"}
    assert cli.run("queues", "resume", "mail").stdout == "mail was not paused\n"
    cli.drain()
    assert cli.json("show", job)["state"] == "succeeded"


def test_limits_of_tasks_and_keys(cli: Cli) -> None:
    cli.run("queues", "limit", "--key", "c7", "--concurrency", "0")
    cli.run("queues", "limit", "--task", "app.add", "--concurrency", "1")
    cli.run("queues", "pause", "--task", "app.greet")
    job = cli.post("app.add", "a=1", "--key", "c7", "--per-key", "4")
    found = {(one["of"], one["name"]): one for one in cli.json("queues")}
    assert list(found) == [("queue", "default"), ("task", "app.add"), ("task", "app.greet"), ("key", "c7")]
    assert found["key", "c7"]["concurrency"] == 0
    assert found["task", "app.greet"]["paused"] is not None
    assert "key c7" in cli.run("queues").stdout
    assert [one["kind"] for one in cli.json("explain", job)["reasons"]] == ["concurrency", "executor"]
    cli.run("queues", "limit", "--key", "c7", "--concurrency", "none")
    assert [one["kind"] for one in cli.json("explain", job)["reasons"]] == ["executor"]


def test_resources(cli: Cli) -> None:
    assert "There is no store" in cli.run("resources", code=4).stderr
    assert "nobody has declared it" in cli.run("post", "app.add", "a=1", "--resource", "gpu=1", code=6).stderr
    assert "ostinato resources set NAME UNITS" in cli.run("resources").stderr
    assert cli.run("resources", "set", "gpu", "2").stdout == "gpu has 2\n"
    job = cli.post("app.add", "a=1", "--resource", "gpu=2")
    assert cli.json("resources", "out", "gpu") == {"resource": "gpu", "done": "out of service"}
    assert cli.run("resources", "out", "gpu").stdout == "gpu was out of service already\n"
    (gpu,) = cli.json("resources")
    assert (gpu["name"], gpu["units"], gpu["free"], gpu["held"], gpu["in_service"]) == ("gpu", 2, 0, {}, False)
    assert "out of service since" in cli.run("resources").stdout
    assert 'resource "gpu" is out of service since' in cli.run("explain", job).stdout
    cli.run("resources", "set", "gpu", "1")
    assert cli.run("resources", "back", "gpu").stdout == "gpu back in service\n"
    assert cli.run("resources", "back", "gpu").stdout == "gpu was in service already\n"
    assert (
        'needs 2 of resource "gpu", which has 1 in all → ostinato resources set gpu 2' in cli.run("explain", job).stdout
    )
    cli.run("resources", "set", "gpu", "none")
    assert cli.json("resources") == []
    assert "which nobody has declared" in cli.run("explain", job[-6:]).stdout


def test_wrong_words(cli: Cli) -> None:
    cli.post("app.add", "a=1")
    for words, told in [
        (("queues", "pause"), "Name one thing"),
        (("queues", "pause", "a", "--task", "b"), "Name one thing"),
        (("queues", "pause", "--key", "a"), "--concurrency 0"),
        (("queues", "pause", "a", "--rate", "1/s"), "belongs to: ostinato queues limit"),
        (("queues", "limit", "a"), "Say what bounds it"),
        (("queues", "limit", "a", "--concurrency", "few"), "whole number, or none"),
        (("queues", "limit", "a", "--rate", "often"), "100/1m"),
        (("queues", "stop", "a"), "pause"),
        (("resources", "set", "gpu"), "ostinato resources set NAME UNITS"),
        (("resources", "out", "gpu", "1"), "Units belong to set"),
        (("resources", "out"), "Name the resource"),
        (("resources", "set", "gpu", "many"), "no units"),
        (("resources", "out", "gpu"), "There is no resource 'gpu'"),
        (("post", "app.add", "--resource", "gpu"), "NAME=UNITS"),
    ]:
        assert told in cli.run(*words, code=2).stderr, words
    cli.run("explain", "0" * 26, code=3)
