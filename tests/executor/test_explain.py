"""`explain`: every reason why a job waits, told exactly; first as a pure function, then on stores."""

from __future__ import annotations

import chores
import pytest
from msgspec.structs import replace
from stores import EMPTY, empties

from ostinato.capacities import Paused
from ostinato.explain import explain
from ostinato.model import HIGH, SECOND, After, Job, Row
from ostinato.plugins import open_test_store
from ostinato.signals import signal_job
from ostinato.situation import LOOK, Situation, look
from ostinato.storage import JobQuery, Rate, TellsPaces
from ostinato.testing.samples import bring_to, claim, claim_one, finish, info, job
from ostinato.testing.samples import look as row_of

NOW = 1_700_000_000 * SECOND
GPU = (("resource:gpu", 2),)
STOP = Paused(None, NOW, "process 7 on a")


def row(job_id="a", state="ready", owner=None, priority=None, started_at=None, run_at=0, **fields) -> Row:
    made = job(job_id, **fields)
    return Row(
        job=made,
        state=state,
        priority=made.priority if priority is None else priority,
        executor_id=owner,
        started_at=started_at,
        run_at=run_at,
    )


def runs(job_id, owner="e1", **fields):
    return row(job_id, "running", owner, **fields)


ABLE = info("e1", tasks={"work": 1}, slots=4)


def told(**fields):
    """(kind, names) of each reason, for a ready job with a free executor unless said otherwise."""
    seen = Situation(**{"now": NOW, "row": row(), "executors": [ABLE], "paces": {}, **fields})
    explanation = explain(seen)
    assert all(one.text in str(explanation) and one.help in str(explanation) for one in explanation.reasons)
    return [(one.kind, one.names) for one in explanation.reasons]


def texts(**fields):
    seen = Situation(**{"now": NOW, "row": row(), "executors": [ABLE], "paces": {}, **fields})
    return "\n".join(f"{one.text} → {one.help}" for one in explain(seen).reasons)


def test_nothing_in_the_way():
    assert told() == [("none", ())]
    assert told(limits={"queue:default": 1, "other": 0}, running=[runs("b", queue="q")]) == [("none", ())]


def test_ended_and_running():
    ended = replace(row(state="failed"), ended_at=NOW, reason="boom")
    assert told(row=ended, executors=[]) == [("ended", ())]
    assert "2023-11-14 22:13:20 UTC: boom → ostinato rerun a" in texts(row=ended)
    begun = replace(runs("a", started_at=NOW - 90 * SECOND), attempt=2, cancelling=True)
    assert told(row=begun) == [("running", ("e1",))]
    assert "for 0:01:30 on executor e1, attempt 2, and is being cancelled" in texts(row=begun)


def test_waiting_and_time():
    parked = replace(row(state="waiting"), reason="no longer fits")
    assert told(row=parked, executors=[]) == [("parked", ())]
    assert "no longer fits → ostinato rerun a" in texts(row=parked)
    late = row(state="scheduled", run_at=NOW + 61 * SECOND)
    assert told(row=late) == [("time", ())]
    assert "22:14:21 UTC (in 0:01:01)" in texts(row=late)
    again = replace(late, attempt=1, reason="OSError")
    assert "for attempt 2 (OSError)" in texts(row=again)


def outside(job_id, made, **fields) -> Row:
    """A job that nobody runs."""
    return Row(job=replace(made, id=job_id), state="waiting", priority=0, **fields)


ASKED = outside("p", Job.approval("Publish?", assignee="kim"), expires_at=NOW + 60 * SECOND)
EVENT = outside("s", signal_job("paid", "number 7"))
TIMER = outside("t", Job(task="ostinato.timer", kind="timer"), expires_at=NOW + SECOND)


@pytest.mark.parametrize(
    ("waiting", "kind", "text"),
    [
        (ASKED, "answer", 'kim to "Publish?" (job p, until 2023-11-14 22:14:20 UTC (in 0:01:00)) → ostinato approve p'),
        (EVENT, "answer", "it waits for the event paid number 7 → ostinato signal paid 'number 7'"),
        (TIMER, "time", "it waits for a time: 2023-11-14 22:13:21 UTC (in 0:00:01) → "),
    ],
)
def test_a_word_from_outside(waiting, kind, text):
    assert told(row=waiting, executors=[]) == [(kind, ())]
    assert text in texts(row=waiting)


def blocked(*ids, **fields):
    return replace(row(state="blocked"), after=After(ids, **fields))


def test_others_come_first():
    steps = [row("b", "running", step="count#2"), row("c", "failed")]
    assert told(row=blocked("b", "c", "d"), awaited=steps) == [("waiting", ("b", "c", "d"))]
    assert texts(row=blocked("b", "c", "d"), awaited=steps).startswith(
        "it waits for count#2 (job b, running), work (job c, failed), job d → ostinato explain b"
    )
    assert "any of the event paid number 7, a time: 2023" in texts(
        row=blocked("s", "t", first=True), awaited=[EVENT, TIMER]
    )
    assert texts(row=blocked("p", first=True), awaited=[ASKED]).endswith("→ ostinato approve p")
    assert "and 3 more" in texts(row=blocked(*"bcdefghi"))
    assert told(row=blocked("b"), awaited=steps, executors=[]) == [("waiting", ("b",)), ("executor", ())]


@pytest.mark.parametrize(
    ("name", "help"),
    [
        ("queue:default", "ostinato queues resume default"),
        ("task:work", "ostinato queues resume --task work"),
        ("resource:gpu", "ostinato resources back gpu"),
    ],
)
def test_paused(name, help):
    kind = "resource" if name == "resource:gpu" else "paused"
    fields = {"row": row(holds=GPU), "limits": {"resource:gpu": 2, name: 0}, "paused": {name: STOP}}
    assert told(**fields) == [(kind, (name.partition(":")[2],))]
    assert "since 2023-11-14 22:13:20 UTC, by process 7 on a" in texts(**fields)
    assert help in texts(**fields)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("queue:default", "ostinato queues limit default --concurrency N"),
        ("task:work", "limit --task work"),
        ("key:c7", "limit --key c7"),
    ],
)
def test_concurrency(name, text):
    keyed = (("key:c7", 1),)
    fields = {"row": row(holds=keyed), "limits": {name: 2}, "executors": [replace(ABLE, slots=9)]}
    one, two = runs("b", holds=keyed), runs("c", holds=keyed)
    assert told(**fields, running=[one]) == [("none", ())]
    assert told(**fields, running=[one, two]) == [("concurrency", ("b", "c"))]
    assert "2 at a time, and b, c run" in texts(**fields, running=[one, two])
    assert text in texts(**fields, running=[one, two])
    assert "limited to 0" in texts(**{**fields, "limits": {name: 0}})


def test_resources():
    fields = {"row": row(holds=GPU)}
    assert told(**fields) == [("resource", ("gpu",))]
    assert "nobody has declared → ostinato resources set gpu 2" in texts(**fields)
    assert told(**fields, limits={"resource:gpu": 1}) == [("resource", ("gpu",))]
    assert "which has 1 in all → ostinato resources set gpu 2" in texts(**fields, limits={"resource:gpu": 1})
    held = {"limits": {"resource:gpu": 3}, "running": [runs("b", holds=GPU), runs("c")]}
    assert told(**fields, **held) == [("resource", ("b",))]
    assert "of which 1 of 3 are free: b hold it" in texts(**fields, **held)
    assert told(**fields, limits={"resource:gpu": 4}, running=held["running"]) == [("none", ())]


def test_rates():
    fields = {"rates": {"task:work": Rate(5, 60 * SECOND)}}
    assert told(**fields) == [("none", ())]
    assert told(**fields, paces={"task:work": NOW + SECOND}) == [("rate", ("work",))]
    assert "5 jobs in 0:01:00, and has; the next may start at 2023-11-14 22:13:21 UTC (in 0:00:01)" in texts(
        **fields, paces={"task:work": NOW + SECOND}
    )
    assert "cannot tell" in texts(**fields, paces=None)


def test_executors():
    assert told(executors=[]) == [("executor", ())]
    assert "no executor is running → ostinato work APP" in texts(executors=[])
    assert "knows task" in texts(row=row(task="other"))
    assert "version 2" in texts(row=row(version=2))
    assert "--queues mail" in texts(row=row(queue="mail"))
    assert "--slots 5" in texts(row=row(slots=5))
    stopping = replace(ABLE, draining=True)
    assert told(executors=[stopping]) == [("draining", ("e1",))]
    assert told(executors=[stopping, replace(ABLE, id="e2")]) == [("none", ())]
    loaded = replace(ABLE, id="e2", overloaded="cpu 97%")
    assert told(executors=[stopping, loaded]) == [("draining", ("e1",)), ("overloaded", ("e2",))]
    assert "e1 (cpu 97%): overloaded" in texts(executors=[loaded])
    assert told(executors=[loaded, ABLE]) == [("none", ())]
    assert told(executors=[], row=row(state="scheduled", run_at=NOW + 1)) == [("time", ()), ("executor", ())]


def test_busy_slots():
    busy = [runs(f"r{n}") for n in range(4)]
    assert told(running=busy) == [("slots", ("r0", "r1", "r2", "r3"))]
    assert told(running=busy[1:]) == [("none", ())]
    assert told(running=busy, executors=[ABLE, replace(ABLE, id="e2")]) == [("none", ())]
    assert told(running=busy, executors=[ABLE, replace(ABLE, id="e2", queues=("q",))])[0][0] == "slots"
    heavy = {"row": row(slots=2), "running": busy[1:]}
    assert told(**heavy) == [("slots", ("r1", "r2", "r3"))]
    assert "needs 2 slots, but the executors that could run it are busy: e1 (1 of 4 free)" in texts(**heavy)
    late = row(state="scheduled", run_at=NOW + 1)
    assert told(row=late, running=busy) == [("time", ())]  # by then they may be free


def test_those_before_it_in_line():
    own, earlier, later = row(), row("b"), row("c")
    high, front = row("h", priority=HIGH), row("f", front=True)
    full = {"running": [runs(f"r{n}") for n in range(4)]}

    def ahead(*ready, **fields):
        reasons = dict(told(ready=ready, **{**full, **fields}))
        assert "slots" in reasons
        return reasons.get("line")

    assert ahead(own, later) is None
    assert ahead(earlier, own, later) == ("b",)
    assert ahead(earlier, own, high, front) == ("h", "f", "b")
    assert ahead(front, own, row=row(front=True)) == ("f",)
    assert ahead(row("x", task="other"), own) is None
    assert ahead(row("x", holds=GPU), own) is None  # held back itself, it holds back nobody
    assert "at least 1 ready jobs" in texts(ready=[earlier], more=True, **full)
    assert told(ready=[earlier, own]) == [("none", ())]  # there is room for both
    assert told(ready=[earlier, own], running=full["running"][1:]) == [("line", ("b",))]


def test_a_heavy_job_at_the_head():
    heavy, own = row("big", slots=3), row()
    fields = {"ready": [heavy, own], "running": [runs("r1"), runs("r2")]}
    assert told(**fields) == [("heavy", ("big",)), ("line", ("big",))]
    assert told(**fields | {"ready": [own, heavy]}) == [("none", ())]
    assert told(**fields | {"ready": [row("big", slots=5), own]}) == [("none", ())]  # too heavy for any


def test_all_reasons_at_once():
    fields = {
        "row": row(holds=(*GPU, ("resource:disk", 1), ("key:c7", 1)), state="scheduled", run_at=NOW + 1),
        "limits": {"queue:default": 0, "resource:gpu": 2, "key:c7": 1},
        "paused": {"queue:default": STOP},
        "running": [runs("b", holds=GPU), runs("c", holds=(("key:c7", 1),))],
        "rates": {"task:work": Rate(1, SECOND)},
        "paces": {"task:work": NOW + 5},
        "executors": [],
    }
    assert told(**fields) == [
        ("time", ()),
        ("paused", ("default",)),
        ("resource", ("b",)),
        ("resource", ("disk",)),
        ("concurrency", ("c",)),
        ("rate", ("work",)),
        ("executor", ()),
    ]


# on stores


@pytest.fixture(params=EMPTY)
def store(request, clock):
    opened = open_test_store(empties(request, request.param)(), clock)
    opened.open()
    yield opened
    opened.close()


def kinds(store, job_id):
    return [one.kind for one in explain(look(store, row_of(store, job_id))).reasons]


def works(store, **fields):
    """An executor tells of itself. It is no process of this host."""
    store.renew(info("e1", tasks={"work": 1}, **fields), [], 30 * SECOND)


def test_what_a_store_knows(store, clock):
    store.limit({"resource:gpu": 2})
    store.post([job("a", holds=GPU), job("b", holds=GPU), job("c")])
    assert kinds(store, "a") == ["executor"]
    works(store, slots=2)
    assert kinds(store, "b") == ["none"]
    first = claim_one(store)
    assert kinds(store, "a") == ["running"]
    assert [one.names for one in explain(look(store, row_of(store, "b"))).reasons] == [("a",)]
    assert kinds(store, "c") == ["none"]
    claim(store)
    store.post([job("d")])
    assert kinds(store, "d") == ["slots"]
    finish(store, first)
    assert kinds(store, "a") == ["ended"]
    assert kinds(store, "d") == ["line"]  # "b" can have the resource now, and the slot
    claim(store, count=1)
    works(store, slots=3)
    assert kinds(store, "d") == ["none"]
    clock.advance(31)
    assert kinds(store, "d") == ["executor"]


def test_a_store_tells_its_paces(store, clock):
    assert isinstance(store, TellsPaces)
    store.limit({}, {"queue:default": Rate(2, 10 * SECOND), "task:other": Rate(1, SECOND)})
    store.post([job("a"), job("b"), job("c")])
    works(store)
    assert store.paces() == {}
    claim(store, count=1)
    clock.advance(4)
    assert store.paces() == {}
    claim(store, count=1)
    assert store.paces() == {"queue:default": clock.now + 6 * SECOND}
    assert kinds(store, "c") == ["rate"]
    clock.advance(6)
    assert store.paces() == {}
    assert kinds(store, "c") == ["none"]


def test_a_job_that_waits_for_others_knows_them_and_the_executors(store):
    store.post([job("a"), job("b", after=After(("a",))), job("q", kind="approval", args='{"title":"?"}')])
    works(store)
    (reason,) = explain(look(store, row_of(store, "b"))).reasons
    assert (reason.kind, reason.names, reason.help) == ("waiting", ("a",), "ostinato explain a")
    assert "work (job a, ready)" in reason.text
    assert kinds(store, "q") == ["answer"]


def test_one_of_many_in_line(store):
    store.post([job(f"j{n}") for n in range(LOOK + 5)])
    works(store, slots=1)
    claim(store, count=1)
    text = str(explain(look(store, row_of(store, f"j{LOOK + 4}"))))
    assert f"at least {LOOK} ready jobs come first, by priority or by age: j1, j2, j3, j4, j5 and" in text


@pytest.mark.parametrize("state", ["scheduled", "running", "succeeded", "failed", "cancelled", "expired"])
def test_every_state_is_explained(store, state):
    bring_to(store, "a", state)
    assert kinds(store, "a")[0] == {"scheduled": "time", "running": "running"}.get(state, "ended")


def test_a_handle_explains_itself(url, make_executor):
    executor = make_executor(url)
    executor.pause(queue="default")
    handle = executor.post(chores.add.job(1))
    explanation = handle.explain()
    assert (explanation.job_id, explanation.state) == (handle.id, "ready")
    assert [one.kind for one in explanation.reasons] == ["paused", "executor"]
    assert str(explanation).startswith(f'Job {handle.id} (chores.add) is ready:\n- queue "default" is paused since')
    executor.resume(queue="default")
    with executor:
        handle.result(20)
        assert [one.kind for one in handle.explain().reasons] == ["ended"]
    assert executor._store.find(JobQuery(ids=(handle.id,))).rows
