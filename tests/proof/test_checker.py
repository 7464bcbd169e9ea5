"""The checker: silent about a history in which all went well, and not fooled by any that was bent."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from stage import Stage

from ostinato.cli import exits
from ostinato.cli.main import run
from ostinato.errors import ConfigError
from ostinato.model import HIGH, LOW, SECOND, TIMER, Attempt, Backoff, Job, Policy, Unique
from ostinato.storage import Record
from ostinato.testing.checker import OF_ALL, OF_ONE, check, report, summary
from ostinato.testing.history import Call, Effect, Facts, History, Kept, Log, gathered, read
from ostinato.testing.samples import want

Bend = Callable[[History], History]

FAR = 10**16
"""Microseconds: in the year 2286."""


def work(job_id: str, **fields: Any) -> Job:
    return Job(**{"id": job_id, "task": "work", **fields})


@lru_cache
def played() -> History:
    """One of everything: success, retry, loss and rescue, cancels, a follow-up, an expiry, a rerun, a
    shared capacity, a unique key, priorities, a post whose answer was lost, a pause, a limit that is
    raised, a schedule, a flow."""
    stage = Stage()
    stage.post(work("plain"))
    stage.end(stage.claim())
    stage.post(work("flaky", policy=Policy(max_attempts=2, backoff=Backoff(first=5))))
    stage.end(stage.claim(), "failure")
    stage.clock.advance(5)
    stage.end(stage.claim())
    stage.post(work("orphan", policy=Policy(timeout=60 * SECOND)))
    stage.claim("e1")
    stage.kill("e1")
    stage.rescue("e2")
    stage.end(stage.claim("e2"))
    stage.post(work("unwanted"))
    stage.ask("cancel", "unwanted")
    stage.post(work("stopped"))
    row = stage.claim("e2")
    stage.ask("cancel", "stopped")
    stage.clock.advance(1)
    stage.effect(row, "alive")
    stage.end(row, "cancelled")
    stage.post(work("parent"))
    stage.end(stage.claim("e2"), posts=(work("child"),))
    stage.end(stage.claim("e2"))
    stage.post(work("stale", expires_at=stage.clock.now + 2 * SECOND))
    stage.clock.advance(2)
    stage.store.claim("e2", want())
    stage.post(work("again"))
    stage.end(stage.claim("e2"), "failure")
    stage.ask("rerun", "again")
    stage.end(stage.claim("e2"))
    stage.post(work("old"))
    stage.end(stage.claim("e2"))
    stage.ask("forget", "old")
    stage.post(work("gpu1", holds=(("gpu", 1),)), work("gpu2", holds=(("gpu", 1),)))
    stage.end(stage.claim("e2"))
    stage.end(stage.claim("e2"))
    stage.post(work("key1", unique=Unique("k")))
    stage.end(stage.claim("e2"))
    stage.post(work("key2", unique=Unique("k")))
    stage.end(stage.claim("e2"))
    stage.post(work("low", priority=LOW), work("high", priority=HIGH))
    stage.end(stage.claim("e2"))
    stage.end(stage.claim("e2"))
    stage.post(work("whose"), outcome="unknown")
    stage.end(stage.claim("e2"))
    stage.post(work("later", run_at=stage.clock.now + 3 * SECOND))
    stage.clock.advance(3)
    stage.end(stage.claim("e2"))
    stage.limit(queue__other=0)
    stage.post(work("held", queue="other"))
    assert not stage.store.claim("e2", want(queues=("*",))).rows
    stage.limit(queue__other=1)
    stage.end(stage.claim("e2"))
    stage.limit(disk=2)
    stage.post(work("disk1", holds=(("disk", 1),)), work("disk2", holds=(("disk", 1),)))
    first, second = stage.claim("e2"), stage.claim("e2")
    stage.end(first)
    stage.end(second)
    stage.schedule("pulse", work(""))
    for number in (1, 2, 3):
        stage.tick("pulse", f"tick{number}")
        stage.end(stage.claim("e2"))
    stage.post(work("flow"))
    timer = Job(id="timer", task=TIMER, kind="timer", flow="flow", default="null", expires_at=stage.clock.now)
    stage.suspend(stage.claim("e2"), work("step", flow="flow"), timer)
    stage.end(stage.claim("e2"))
    stage.end(stage.claim("e2"))
    return stage.history()


def test_a_history_in_which_all_went_well_is_clean() -> None:
    assert [violation.said for violation in check(played())] == []


# bending: each of these takes the clean history and makes one thing wrong


def kept(job_id: str, bend: Callable[[Record], Record | None]) -> Bend:
    """The store keeps something else of this job, or nothing."""

    def mutate(history: History) -> History:
        found = [bend(one) if one.row.job.id == job_id else one for one in history.kept]
        assert found != list(history.kept)
        return replace(history, kept=tuple(one for one in found if one is not None))

    return mutate


def row(job_id: str, **fields: Any) -> Bend:
    return kept(job_id, lambda record: Record(replace(record.row, **fields), record.attempts))


def job(job_id: str, **fields: Any) -> Bend:
    def change(record: Record) -> Record:
        return Record(replace(record.row, job=replace(record.row.job, **fields)), record.attempts)

    return kept(job_id, change)


def attempts(job_id: str, bend: Callable[[list[Attempt]], list[Attempt]]) -> Bend:
    return kept(job_id, lambda record: Record(record.row, tuple(bend(list(record.attempts)))))


def attempt(job_id: str, which: int, **fields: Any) -> Bend:
    return attempts(job_id, lambda known: [replace(one, **fields) if one.number == which else one for one in known])


def moved(job_id: str, number: int, seconds: float) -> Bend:
    """That attempt began so much earlier (negative) or later."""

    def change(known: list[Attempt]) -> list[Attempt]:
        return [
            replace(one, started_at=one.started_at + round(seconds * SECOND)) if one.number == number else one
            for one in known
        ]

    return attempts(job_id, change)


def effects(bend: Callable[[Effect], Effect | list[Effect]]) -> Bend:
    def mutate(history: History) -> History:
        found: list[Effect] = []
        for one in history.effects:
            bent = bend(one)
            found += bent if isinstance(bent, list) else [bent]
        assert found != list(history.effects)
        return replace(history, effects=tuple(sorted(found, key=lambda effect: effect.steady)))

    return mutate


def effect(job_id: str, number: int, kind: str, bend: Callable[[Effect], Effect | list[Effect]]) -> Bend:
    return effects(lambda one: bend(one) if (one.job, one.attempt, one.kind) == (job_id, number, kind) else one)


def shift(seconds: float) -> Callable[[Effect], Effect]:
    def later(one: Effect) -> Effect:
        return replace(one, at=one.at + round(seconds * SECOND), steady=one.steady + round(seconds * SECOND))

    return later


def call(op: str, job_id: str, **fields: Any) -> Bend:
    def mutate(history: History) -> History:
        found = tuple(
            replace(one, **fields) if one.op == op and job_id in one.jobs else one for one in history.calls
        )  # fmt: skip
        assert found != history.calls
        return replace(history, calls=found)

    return mutate


def heard(kind: str, job_id: str, **fields: Any) -> Bend:
    def mutate(history: History) -> History:
        found = tuple(
            replace(one, **fields) if one.kind == kind and one.job == job_id else one for one in history.heard
        )  # fmt: skip
        assert found != history.heard
        return replace(history, heard=found)

    return mutate


def told_twice(job_id: str) -> Bend:
    def mutate(history: History) -> History:
        again = [replace(one, executor="e9") for one in history.heard if one.job == job_id and one.kind == "success"]
        return replace(history, heard=(*history.heard, *again))

    return mutate


def facts(**fields: Any) -> Bend:
    return lambda history: replace(history, facts=replace(history.facts, **fields))


def no_unknown_post(history: History) -> History:
    calls = tuple(one for one in history.calls if one.outcome != "unknown")
    assert len(calls) < len(history.calls)
    return replace(history, calls=calls)


def copied(job_id: str, copy: str) -> Bend:
    """The store has another job just like it."""

    def mutate(history: History) -> History:
        (record,) = [one for one in history.kept if one.row.job.id == job_id]
        twin = replace(record.row, job=replace(record.row.job, id=copy))
        return replace(history, kept=(*history.kept, Record(twin, ())))

    return mutate


def while_paused(job_id: str) -> Bend:
    """It was started in the middle of the time for which its queue was paused."""

    def mutate(history: History) -> History:
        pause, resume = [one for one in history.calls if "queue:other" in one.limits]
        return row(job_id, started_at=(pause.ended + resume.began) // 2)(history)

    return mutate


def call_limit(name: str, most: int) -> Bend:
    """The limit was set to this."""

    def mutate(history: History) -> History:
        found = tuple(replace(one, limits={name: most}) if name in one.limits else one for one in history.calls)
        assert found != history.calls
        return replace(history, calls=found)

    return mutate


def beside(job_id: str) -> Bend:
    """The first attempt of this job goes on until the second is complete."""

    def mutate(history: History) -> History:
        (end,) = [one for one in history.effects if (one.job, one.attempt, one.kind) == (job_id, 2, "end")]
        return effect(job_id, 1, "begin", lambda one: [one, replace(end, kind="alive", attempt=1, pid=one.pid)])(
            history
        )

    return mutate


def at_once(one: str, other: str) -> Bend:
    """The effects of one job lie just where those of the other do."""

    def mutate(history: History) -> History:
        begins = {effect.job: effect.at for effect in history.effects if effect.kind == "begin"}
        moved_by = begins[other] - begins[one]
        bent = effects(lambda found: shift(moved_by / SECOND)(found) if found.job == one else found)(history)
        return attempt(one, 1, ended_at=begins[other] + SECOND)(bent)

    return mutate


def starts_of(one: str, other: str) -> Bend:
    """The two jobs were claimed in the other order."""

    def mutate(history: History) -> History:
        started = {record.row.job.id: record.row.started_at for record in history.kept}
        return row(one, started_at=started[other])(row(other, started_at=started[one])(history))

    return mutate


MUTATIONS: dict[str, tuple[str, Bend]] = {
    "an acknowledged job is lost": ("no loss", kept("plain", lambda record: None)),
    "a forgotten job is back": ("forgotten", copied("plain", "old")),
    "a job comes from nowhere": ("nothing from nowhere", copied("plain", "ghost")),
    "a job of a refused post is there": ("nothing from nowhere", no_unknown_post),
    "a step comes from nowhere": ("nothing from nowhere", job("step", flow="ghost")),
    "something ran that nobody keeps": (
        "nothing from nowhere",
        effect("plain", 1, "end", lambda one: [one, replace(one, job="phantom")]),
    ),
    "a follow-up is lost": ("follow-ups", kept("child", lambda record: None)),
    "a follow-up of a failure is there": (
        "follow-ups",
        effect("flaky", 1, "begin", lambda one: [one, replace(one, kind="end", posts=("child",))]),
    ),
    "a job is left running": ("all ended", row("plain", state="running")),
    "a job is left ready": ("all ended", row("flaky", state="ready")),
    "a lease is left": ("all ended", row("plain", lease_until=1)),
    "an attempt is missing": ("attempts counted", attempts("flaky", lambda known: known[1:])),
    "an attempt is there twice": ("attempts counted", attempts("plain", lambda known: known * 2)),
    "two attempts have changed places": ("attempts counted", attempts("orphan", lambda known: known[::-1])),
    "an attempt skips a number": ("attempts counted", attempt("flaky", 2, number=3)),
    "a job succeeded twice": ("one end", attempt("orphan", 1, outcome="success")),
    "a failed job is kept as a success": ("one end", attempt("plain", 1, outcome="failure")),
    "a success is kept as failed": ("one end", row("plain", state="failed")),
    "a step succeeded that was never run": ("one end", attempts("step", lambda known: [])),
    "an expired job was started": ("one end", row("plain", state="expired")),
    "an attempt begins before the last has ended": ("in turn", moved("orphan", 2, -10)),
    "an attempt ended before it began": ("in turn", moved("plain", 1, 10)),
    "a retry comes too early": ("back-off", moved("flaky", 2, -3)),
    "a job fails more often than it may": ("budget", job("flaky", policy=Policy(max_attempts=0))),
    "a job outlives its fourth death": (
        "budget",
        attempts("orphan", lambda known: [replace(known[0], number=number) for number in (1, 2, 3, 4)]),
    ),
    "a zombie's success was accepted": ("fenced", heard("success", "orphan", executor="e1")),
    "a success was accepted of an attempt that failed": ("fenced", heard("success", "flaky", attempt=1)),
    "what was rescued had succeeded": ("fenced", heard("rescue", "orphan", attempt=2)),
    "two executors were told that they ended it": ("fenced", told_twice("plain")),
    "a success never did its work": ("done", effects(lambda one: [] if one.job == "plain" else one)),
    "a success did half of its work": ("done", effect("plain", 1, "end", lambda one: [])),
    "one attempt was given to two processes": (
        "each once",
        effect("plain", 1, "begin", lambda one: [one, replace(one, pid=9)]),
    ),
    "an attempt ran that was never given": (
        "each once",
        effect("plain", 1, "end", lambda one: [one, replace(shift(2)(one), attempt=2, kind="begin")]),
    ),
    "a run goes on beside its successor": ("no two runs", beside("orphan")),
    "a cancelled job was started": (
        "cancelled",
        effect("plain", 1, "begin", lambda one: [one, replace(shift(900)(one), job="unwanted")]),
    ),
    "a job that was cancelled while it ran began again": (
        "cancelled",
        effect("stopped", 1, "alive", lambda one: [one, replace(shift(5)(one), attempt=2, kind="begin")]),
    ),
    "a job started too early": ("in time", job("later", run_at=FAR)),
    "a job started after its expiry": ("in time", job("plain", expires_at=1)),
    "a run outlasts its time limit": ("timeout", effect("orphan", 2, "end", shift(100))),
    "nobody knows where a log is": ("logs", attempt("plain", 1, log=None)),
    "a rescue takes too long": ("failed over", attempt("orphan", 1, ended_at=FAR)),
    "two jobs share what is there once": ("capacities", at_once("gpu1", "gpu2")),
    "a paused queue goes on": ("capacities", facts(capacities={"queue:default": 0})),
    "a job was started while its queue was paused": ("limits over time", while_paused("held")),
    "a job was started over a limit that had been lowered": ("limits over time", call_limit("disk", 1)),
    "a tick has two jobs": ("one job a tick", copied("tick2", "twin")),
    "a tick has no job": ("every tick", kept("tick2", lambda record: None)),
    "the schedule is gone": ("every tick", lambda history: replace(history, planned=())),
    "an executor runs more than it has slots for": ("slots", facts(slots=0)),
    "a low job is started before a high one": ("best first", starts_of("low", "high")),
    "two jobs hold one key": ("unique keys", row("key1", ended_at=FAR)),
    "a process is left": ("nothing left", facts(left=("process 4711",))),
}


@pytest.mark.parametrize("what", MUTATIONS)
def test_the_checker_notices_that(what: str) -> None:
    invariant, bend = MUTATIONS[what]
    violations = check(bend(played()))
    assert invariant in {violation.invariant for violation in violations}
    assert report(violations).startswith("violated: ")


def test_every_invariant_is_violated_by_some_mutation() -> None:
    """And by no less than its own function: without it, nobody notices."""
    needed = {name for name, _ in MUTATIONS.values()}
    assert len(needed) == len(OF_ONE) + len(OF_ALL)


def test_a_message_shows_the_job_and_the_lines_that_prove_it() -> None:
    _, bend = MUTATIONS["a zombie's success was accepted"]
    lines = report(check(bend(played()))).splitlines()
    assert lines[0] == "violated: fenced"
    assert lines[1].startswith("job orphan: executor e1 was told that its success of attempt 2 is accepted")
    assert any("executor e2: success" in line for line in lines[2:])
    assert any("executor e1 told of 'success' (attempt 2)" in line for line in lines[2:])
    assert lines[2:] == sorted(lines[2:])


def test_a_summary_says_how_much_was_looked_at() -> None:
    said = summary(played())
    assert said.startswith(f"{len(played().calls)} calls, {len(played().kept)} jobs")
    assert "1 × kill" in said


# reading and the command line


def written(folder: Path, history: History) -> Path:
    log = Log(folder / "all.jsonl")
    log.write(history.facts, *history.calls, *history.effects, *history.heard, *history.faults)
    log.write(*history.planned, *(Kept(record) for record in history.kept))
    log.close()
    return folder


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    assert read(written(tmp_path, played())) == played()


def test_a_call_without_an_answer_is_unknown(tmp_path: Path) -> None:
    asked = Call(client="c", number=1, op="post", outcome="asked", began=1, count=1)
    assert gathered([asked]).calls == (asked,)
    assert gathered([asked, replace(asked, outcome="ok", ended=2)]).calls == (replace(asked, outcome="ok", ended=2),)


def test_half_a_line_of_a_killed_witness_is_no_error(tmp_path: Path) -> None:
    whole = msgspec.json.encode(Facts(slots=3))
    (tmp_path / "a.jsonl").write_bytes(whole + b"\n" + whole[:9])
    assert read(tmp_path).facts.slots == 3
    (tmp_path / "a.jsonl").write_bytes(whole[:9] + b"\n" + whole)
    with pytest.raises(ConfigError, match=r"a\.jsonl:1 is no line of a history"):
        read(tmp_path)


def test_the_command_finds_a_clean_history_clean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check-history", str(written(tmp_path, played()))]) == exits.OK
    assert "no violation" in capsys.readouterr().out


def test_the_command_tells_the_first_violation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, bend = MUTATIONS["an acknowledged job is lost"]
    written(tmp_path, bend(played()))
    assert run(["check-history", str(tmp_path)]) == exits.FAILED
    assert "violated: no loss\njob plain: " in capsys.readouterr().out
    assert run(["check-history", str(tmp_path), "--json"]) == exits.FAILED
    said = msgspec.json.decode(capsys.readouterr().out)
    assert {one["invariant"] for one in said["violations"]} >= {"no loss"}
    assert said["jobs"] == len(played().kept) - 1


def test_the_command_says_where_it_found_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check-history", str(tmp_path)]) == exits.USAGE
    assert "no file in it is named *.jsonl" in capsys.readouterr().err
