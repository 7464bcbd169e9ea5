"""Fidelity: whatever is put in comes out the same, field by field and character by character."""

from __future__ import annotations

import json

import pytest

from ostinato.model import SECOND, Attempt, Backoff, Error, Job, Policy
from ostinato.storage import Ask, JobQuery, Note, Store
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import HOSTILE, attempt, claim, claim_one, end, finish, info, job, look, names
from ostinato.testing.setting import Setting

FAR = 4_102_444_800 * SECOND  # the year 2100

POLICY = Policy(
    runner="pool",
    timeout=61 * SECOND,
    grace=3 * SECOND,
    max_attempts=7,
    backoff=Backoff(first=0.25, factor=1.5, limit=99.5, jitter=0.125),
    on_lost="fail",
    sink=5,
    memory=5 * 2**30,
    cpu=120,
    files=64,
    nice=19,
)
JOB = Job(
    id="0192-full",
    task="pkg.module:work",
    args='{"a":[1,2.5,null,true,"x"]}',
    kind="command",
    version=12,
    queue="mail.eu",
    priority=-37,
    front=True,
    slots=3,
    holds=(("gpu", 2), ("key:7", 1)),
    run_at=1,
    deadline=FAR,
    promote_at=FAR - 1,
    expires_at=FAR - 2,
    tags=("red", "blue", "red"),
    schedule="nightly",
    tick=FAR - 3,
    parent="0191-parent",
    policy=POLICY,
)


class FidelityCases(Setting):
    @pytest.mark.parametrize("posted", [JOB, job("bare")], ids=["full", "bare"])
    def test_every_field_of_a_job(self, store: Store, posted: Job) -> None:
        store.post([posted])
        assert look(store, posted.id).job == posted
        store.limit({"gpu": 2, "key:7": 1})
        assert claim_one(store, tasks={posted.task: 12}, queues=("*",)).job == posted

    def test_every_field_of_an_attempt(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a")])
        row = claim_one(store)
        full = Attempt(
            job_id="a",
            number=1,
            executor_id="e1",
            outcome="died",
            started_at=clock.now - 1,
            ended_at=clock.now + 1,
            reason="out of memory",
            error=Error("MemoryError", "no more", "Traceback ..."),
            exit_code=-9,
            signal=9,
            cpu=FAR,
            peak_memory=2**40,
            log="",
        )
        finish(store, row, "failed", attempt=full)
        assert store.attempts(["a"]) == [full]

    def test_every_field_of_an_end(self, store: Store, clock: FakeClock) -> None:
        store.post([job("a")])
        error = Error("E", "m", "t")
        fields = {"run_at": FAR, "priority": -5, "charged": 2, "deaths": 3, "error": error, "reason": "why"}
        finish(store, claim_one(store), "scheduled", **fields)
        row = look(store, "a")
        assert {name: getattr(row, name) for name in fields} == fields

    @pytest.mark.parametrize("result", [None, "null", '""', "0", "[]"])
    def test_no_result_is_not_an_empty_one(self, store: Store, result: str | None) -> None:
        store.post([job("a")])
        finish(store, claim_one(store), result=result)
        assert look(store, "a").result == result

    @pytest.mark.parametrize("text", HOSTILE)
    def test_hostile_text_in_a_job(self, store: Store, text: str) -> None:
        args = json.dumps({text: text}, ensure_ascii=False)
        posted = job(
            "a", task=text, queue=text, args=args, tags=(text, "x"), schedule=text, parent=text, holds=((text, 1),)
        )
        store.post([posted])
        assert look(store, "a").job == posted
        assert names(store.find(JobQuery(tag=text, tasks=(text,), queues=(text,))).rows) == ["a"]
        assert [(count.queue, count.task) for count in store.count()] == [(text, text)]
        store.limit({text: 0, f"queue:{text}": 1})
        assert claim(store, tasks={text: 1}, queues=(text,)) == []
        store.limit({text: 1})
        assert claim_one(store, tasks={text: 1}, queues=(text,)).job == posted

    @pytest.mark.parametrize("text", HOSTILE)
    def test_hostile_text_in_a_run(self, store: Store, text: str) -> None:
        document = json.dumps([text], ensure_ascii=False)
        store.post([job("a")])
        row = claim_one(store, text)
        assert row.executor_id == text
        store.note([Note("a", row.token, 1, "progress", document), Note("a", row.token, 1, "checkpoint", document)])
        error = Error(text, text, text)
        told = attempt(row, "failure", executor_id=text, reason=text, error=error)
        store.finish([end(row, "failed", attempt=told, error=error, reason=text, result=document)])
        store.note([Note("a", row.token, 1, "log", text)])
        seen = look(store, "a")
        assert (seen.progress, seen.checkpoint, seen.result) == (document, document, document)
        assert (seen.error, seen.reason) == (error, text)
        (recorded,) = store.attempts(["a"])
        assert (recorded.executor_id, recorded.reason, recorded.error, recorded.log) == (text, text, error, text)

    @pytest.mark.parametrize("text", HOSTILE)
    def test_hostile_text_elsewhere(self, store: Store, text: str) -> None:
        assert store.tick(text, 1, [job(text)])
        assert not store.tick(text, 1, [])
        store.renew(info("e1", name=text, host=text, spool=text, tasks={text: 3}), [], SECOND)
        (known,) = store.executors()
        assert (known.name, known.host, known.spool, known.tasks) == (text, text, text, {text: 3})
        store.change([text], Ask(kind="cancel", reason=text))
        assert look(store, text).reason == text

    def test_very_long_texts(self, store: Store) -> None:
        """A megabyte of arguments and result, and tags longer than any index would like."""
        long = json.dumps("é🦄" * 200_000, ensure_ascii=False)
        tag = "t" * 2000
        store.post([job("a", args=long, tags=(tag, tag + "x"))])
        row = claim_one(store)
        assert (row.job.args, row.job.tags) == (long, (tag, tag + "x"))
        finish(store, row, result=long, error=Error("E", long, long), reason=long)
        seen = look(store, "a")
        assert (seen.result, seen.error, seen.reason) == (long, Error("E", long, long), long)
        assert names(store.find(JobQuery(tag=tag)).rows) == ["a"]

    def test_many_tags_and_holds(self, store: Store) -> None:
        tags = tuple(f"tag{n}" for n in range(50))
        holds = tuple((f"hold{n}", 1) for n in range(20))
        store.limit(dict(holds))
        store.post([job("a", tags=tags, holds=holds)])
        row = claim_one(store)
        assert (row.job.tags, row.job.holds) == (tags, holds)
