"""What only a Redis store does: keys in one slot, searches in steps, lanes, texts and times at their limits."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from redis import Redis
from redis_servers import make, new_namespace, opened

from ostinato.errors import PayloadError
from ostinato.model import HIGH, SECOND, After, State, Unique
from ostinato.storage import Ask, Entry, JobQuery, Note, PostsAndClaims, Rate, Record, Rescue
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import LEASE, claim, claim_one, end, finish, info, job, jobs, look, names, want
from ostinato_redis.store import RedisStore


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def namespace() -> str:
    return new_namespace()


@pytest.fixture
def store(valkey: str, namespace: str, clock: FakeClock) -> Iterator[RedisStore]:
    with opened(f"{valkey}?namespace={namespace}", clock) as one:
        yield one


@pytest.fixture
def admin(valkey: str) -> Iterator[Redis]:
    with Redis.from_url(valkey, protocol=2, decode_responses=True) as asked:
        yield asked


def live_a_life(store: RedisStore) -> None:
    """Every verb, with every kind of index in use."""
    now = store.now()
    store.limit({"gpu": 2, "queue:default": 100}, {"task:work": Rate(5, SECOND), "gone": Rate(1, 1)})
    store.limit({}, {"gone": None})
    store.post(jobs(6, holds=(("gpu", 1),), tags=("t",)))
    store.post([job("later", run_at=now + SECOND, expires_at=now + SECOND, promote_at=now, unique=Unique("k"))])
    store.post([job("twin", unique=Unique("k", on_conflict="replace"), tags=("t",), run_at=now + SECOND)])
    store.tick("nightly", 1, [job("ticked")])
    first, second, *_ = claim(store)
    store.renew(info("e1"), [first.fence], LEASE)
    store.note([Note(first.job.id, first.token, 1, "progress", "[1]")])
    finish(store, first, posts=(job("follow-up"),))
    store.rescue("e2", Rescue(dead=("e1",)))
    store.post_and_claim([job("direct")], "e1", want())
    store.change([first.job.id, second.job.id], Ask(kind="rerun"))
    store.change(["j0005"], Ask(kind="cancel"))
    store.find(JobQuery(tag="t", ended_before=now))
    store.attempts([first.job.id])
    store.executors()
    store.count()
    store.limits()
    store.rates()
    store.ticks()
    store.keep([Entry("schedule", "a", "1"), Entry("schedule", "b", None)])
    store.entries("schedule")
    store.change(["j0005"], Ask(kind="forget"))
    flow_with_steps(store)
    store.change(["f"], Ask(kind="cancel"))


def flow_with_steps(store: RedisStore) -> None:
    """A flow that waits for a step, an approval and a step of another one, and what comes after it."""
    store.limit({"task:work": None}, {"task:work": None})
    store.post([job("f", flow="g", step="f#1"), job("late", after=After(("f", "unknown"), "run"))])
    (row,) = (row for row in claim(store) if row.job.id == "f")
    store.note([Note("f", row.token, row.attempt, "step", "1", "a#1")])
    steps = (
        job("s1", flow="f"),
        job("s2", flow="f", kind="approval", default="1", expires_at=store.now() + SECOND, after=After(("s1",))),
        job("s3", flow="other"),
    )
    finish(store, row, "blocked", posts=steps, after=After(("s1", "s2", "s3"), "run"))


# keys


def test_all_keys_are_made_from_the_tag(valkey_cluster: str, clock: FakeClock) -> None:
    """On a cluster all are on the node of the tag's slot; what a script read of another would be refused."""
    for _ in range(6):  # namespaces on several nodes
        name = new_namespace()
        store = make(f"{valkey_cluster}?namespace={name}", clock)
        store.open()
        live_a_life(store)
        store.close()
        found = {}
        for place in valkey_cluster.partition("://")[2].split(","):
            host, _, port = place.partition(":")
            with Redis(host, int(port), protocol=2, decode_responses=True) as node:
                found[place] = [key for key in node.scan_iter("*", count=10_000) if name in key]
        (keys,) = [keys for keys in found.values() if keys]
        assert all(re.match(re.escape(f"{{{name}}}") + "(:|$)", key) for key in keys)
        assert len(keys) > 15


def test_every_key_that_a_script_touches_begins_with_the_tag(store: RedisStore, admin: Redis, namespace: str) -> None:
    """Also those that do not exist, as the server itself reports them."""
    touched: set[str] = set()
    with admin.monitor() as monitor:
        live_a_life(store)
        admin.ping()
        for told in monitor.listen():
            if told["command"].upper().startswith("PING"):
                break
            if told["client_type"] == "lua":
                touched.add(told["command"])
    without_key = {"TIME"}
    commands = [words for words in (line.split(" ", 2) for line in touched) if words[0].upper() not in without_key]
    assert len({words[0].upper() for words in commands}) > 15
    assert [words for words in commands if not words[1].startswith(f"{{{namespace}}}")] == []


def test_nothing_is_left_of_jobs_that_are_forgotten(store: RedisStore, admin: Redis, namespace: str) -> None:
    store.post(jobs(3, tags=("t",), unique=Unique("k"), holds=(("gpu", 1),)))
    store.post(jobs(3, "q", queue="q", tags=("t",), promote_at=1, expires_at=store.now() + SECOND))
    store.post([job("r", unique=Unique("k", on_conflict="replace"), tags=("u",), slots=7)])  # another lane
    store.limit({"gpu": 5})
    rows = claim(store, queues=("*",))
    store.finish([end(row, "failed") for row in rows])
    store.change([row.job.id for row in rows], Ask(kind="forget"))
    assert store.count() == []
    left = set(admin.scan_iter(f"{{{namespace}}}*", count=10_000))
    assert left == {f"{{{namespace}}}", f"{{{namespace}}}:limits"}


def test_nothing_is_left_of_flows_that_are_forgotten(store: RedisStore, admin: Redis, namespace: str) -> None:
    flow_with_steps(store)
    store.change(["s3", "f", "late"], Ask(kind="cancel"))
    store.change(["f", "late", "s1", "s2", "s3"], Ask(kind="forget"))
    assert store.count() == []
    assert set(admin.scan_iter(f"{{{namespace}}}*", count=10_000)) == {f"{{{namespace}}}"}


def test_who_waits_no_more_is_tied_to_nobody(store: RedisStore, admin: Redis, namespace: str) -> None:
    store.post([job("a"), job("b", after=After(("a",)))])
    assert admin.exists(f"{{{namespace}}}:tied:a", f"{{{namespace}}}:awaits:b") == 2
    store.change(["b"], Ask(kind="cancel"))
    assert admin.exists(f"{{{namespace}}}:tied:a", f"{{{namespace}}}:awaits:b") == 0


def test_namespaces_do_not_meet(store: RedisStore, valkey: str, clock: FakeClock) -> None:
    other = make(f"{valkey}?namespace={new_namespace()}", clock)
    other.open()
    ear = other.listen(frozenset(["ready"]))
    store.post([job("a")])
    assert other.find(JobQuery()).rows == []
    assert claim(other) == []
    assert ear.wait(0.05) == frozenset()
    other.close()


# flows


def test_more_steps_than_a_command_takes_arguments(store: RedisStore) -> None:
    """Lua unpacks no more than 8,000 values into one."""
    many = 8200
    steps = [job(f"s{n}", flow="f") for n in range(many)]
    ids = tuple(one.id for one in steps)
    store.post([job("f")])
    finish(store, claim_one(store), "blocked", posts=tuple(steps), after=After(ids, "run"))
    assert look(store, "f").after == After(ids, "run")
    rows = claim(store, count=many, slots=many, capacity=many)
    assert all(store.finish([end(row) for row in rows]))
    assert names(claim(store)) == ["f"]


def test_loaded_after_what_it_waits_for_has_ended_here(store: RedisStore) -> None:
    store.post([job("a"), job("x"), job("b", after=After(("a", "x")))])
    blocked = look(store, "b")
    store.change(["b"], Ask(kind="cancel"))
    store.change(["b"], Ask(kind="forget"))
    finish(store, claim_one(store))
    store.load([Record(blocked)])
    assert look(store, "b").after == After(("x",))


def test_who_takes_the_place_of_another_takes_its_ties_too(store: RedisStore) -> None:
    unique = Unique("k", on_conflict="replace")
    store.post([job("a"), job("old", unique=unique, flow="f")])
    store.post([job("new", unique=unique, flow="g", after=After(("a",)))])
    assert (look(store, "old").state, look(store, "old").after) == ("blocked", After(("a",)))
    assert names(store.find(JobQuery(flow="f")).rows) == []
    assert names(store.find(JobQuery(flow="g")).rows) == ["old"]
    finish(store, claim_one(store))
    assert names(claim(store)) == ["old"]


def test_a_promise_of_a_parked_flow_is_no_time_to_wake_at(store: RedisStore, clock: FakeClock) -> None:
    store.post([job("f", expires_at=clock.now + SECOND)])
    finish(store, claim_one(store), "waiting")
    assert store.claim("e1", want()).next_at is None


# searches


@pytest.mark.parametrize("oldest_first", [False, True])
def test_needle_behind_more_jobs_than_one_step_looks_at(store: RedisStore, oldest_first: bool) -> None:
    store.post([job("first", queue="q")])
    store.post(jobs(2500))
    store.post([job("last", queue="q")])
    wanted = ["first", "last"] if oldest_first else ["last", "first"]
    assert names(store.find(JobQuery(queues=("q",), oldest_first=oldest_first)).rows) == wanted
    page = store.find(JobQuery(queues=("q",), oldest_first=oldest_first, limit=1))
    assert names(page.rows) == wanted[:1]
    page = store.find(JobQuery(queues=("q",), oldest_first=oldest_first, limit=1, cursor=page.next))
    assert (names(page.rows), page.next) == (wanted[1:], None)


def test_page_larger_than_one_step(store: RedisStore) -> None:
    store.post(jobs(2300))
    first = store.find(JobQuery(limit=2000))
    rest = store.find(JobQuery(limit=2000, cursor=first.next))
    assert names([*first.rows, *rest.rows]) == [made.id for made in jobs(2300)][::-1]
    assert rest.next is None


@pytest.mark.parametrize("old", [3, 1500])
def test_ended_before_finds_the_old_ones(store: RedisStore, clock: FakeClock, old: int) -> None:
    """Few are found by the time of their end, many by going through all."""
    store.post(jobs(old, "old"))
    ended(store)
    clock.advance(60)
    store.post(jobs(1200, "new"))
    ended(store)
    found = store.find(JobQuery(states=("succeeded",), ended_before=clock.now - SECOND, limit=2000)).rows
    assert names(found) == [made.id for made in jobs(old, "old")][::-1]


def test_retention_that_finds_nothing_looks_at_nothing(store: RedisStore, admin: Redis, clock: FakeClock) -> None:
    store.post(jobs(1200))
    ended(store)
    store.find(JobQuery(ids=()))  # the server knows the script
    before = admin.info("commandstats")["cmdstat_hmget"]["calls"]
    assert store.find(JobQuery(states=("succeeded",), ended_before=clock.now - SECOND)).rows == []
    assert admin.info("commandstats")["cmdstat_hmget"]["calls"] == before


def ended(store: RedisStore) -> None:
    while rows := claim(store, count=1000):
        store.finish([end(row) for row in rows])


# claiming


def test_what_comes_due_is_applied_to_the_last(store: RedisStore, clock: FakeClock) -> None:
    """More of each kind than one script moves."""
    soon = clock.now + SECOND
    store.post([job(f"s{n}", run_at=soon) for n in range(1100)])
    store.post([job(f"x{n}", task="unknown", expires_at=soon) for n in range(1100)])
    store.post([job(f"p{n}", task="unknown", promote_at=soon) for n in range(1100)])
    clock.advance(1)
    claimed = store.claim("e1", want(count=5000, slots=5000, capacity=5000))
    assert (len(claimed.rows), len(claimed.expired), claimed.next_at) == (1100, 1100, None)
    assert {row.priority for row in claim(store, tasks={"unknown": 1}, count=5000, slots=5000)} == {HIGH}


def test_new_queues_are_learnt(store: RedisStore) -> None:
    for n in range(5):
        store.post([job(f"mail{n}", queue=f"mail.{n}"), job(f"other{n}", queue=f"other.{n}")])
        assert names(claim(store, queues=("mail.*",))) == [f"mail{n}"]
    assert names(claim(store, queues=("other.3", "none"))) == ["other3"]


def test_many_lanes(store: RedisStore) -> None:
    """Each customer has a lane of its own; the order is strict among them all."""
    store.limit({f"key:{n}": 1 for n in range(300)})
    store.post([job(f"{n:04}", holds=((f"key:{n % 300}", 1),), priority=-(n % 7)) for n in range(600)])
    rows = claim(store, count=64)
    first_of_key: dict[int, int] = {}
    for _, n in sorted((n % 7, n) for n in range(600)):
        first_of_key.setdefault(n % 300, n)
    assert names(rows) == [f"{n:04}" for n in first_of_key.values()][:64]


# rates


def test_starts_are_kept_for_rates_only_and_no_longer_than_they_ask(
    store: RedisStore, admin: Redis, namespace: str, clock: FakeClock
) -> None:
    starts = f"{{{namespace}}}:starts:"
    store.limit({}, {"task:work": Rate(3, SECOND)})
    store.post(jobs(9))
    claim(store)
    clock.advance(0.5)
    claim(store)
    assert list(admin.scan_iter(f"{starts}*", count=10_000)) == [f"{starts}task:work"]
    assert admin.zcard(f"{starts}task:work") == 3
    clock.advance(0.5)
    claim(store, count=1)
    assert admin.zcard(f"{starts}task:work") == 1
    clock.advance(1)
    store.change([made.id for made in jobs(9)], Ask(kind="cancel"))
    store.post([job("x")])
    store.limit({}, {"task:work": None})
    assert list(admin.scan_iter(f"{starts}*", count=10_000)) == []
    claim(store)
    assert list(admin.scan_iter(f"{starts}*", count=10_000)) == []


def test_each_start_of_a_job_counts(store: RedisStore) -> None:
    store.limit({}, {"queue:default": Rate(2, SECOND)})
    store.post([job("a")])
    finish(store, claim_one(store), "ready")
    finish(store, claim_one(store), "ready")
    assert claim(store) == []


def test_rate_that_was_lowered_counts_the_last_starts(store: RedisStore, clock: FakeClock) -> None:
    begun = clock.now
    store.limit({}, {"queue:default": Rate(9, 10 * SECOND)})
    store.post(jobs(9))
    for _ in range(4):
        claim_one(store)
        clock.advance(1)
    store.limit({}, {"queue:default": Rate(2, 10 * SECOND)})
    assert store.claim("e1", want()).next_at == begun + 12 * SECOND
    clock.advance(8)  # to when the third start is just out of the window
    assert names(claim(store)) == ["j0004"]


def test_what_is_held_back_is_told_at_once_and_only_to_who_can_take_it(store: RedisStore, clock: FakeClock) -> None:
    until = clock.now + SECOND
    store.limit({}, {"queue:default": Rate(1, SECOND)})
    store.post(jobs(2))
    assert store.claim("e1", want()).next_at == until  # with the claim that used it up
    assert store.claim("e1", want(tasks={"other": 1})).next_at is None
    clock.advance(1)
    assert store.claim("e1", want()).next_at is None  # nobody waits for it any more
    _, claimed = store.post_and_claim([job("a")], "e1", want())
    assert (claimed.rows, claimed.next_at) == ([], clock.now + SECOND)


def test_rate_of_none_holds_back_for_ever(store: RedisStore, clock: FakeClock) -> None:
    store.limit({}, {"queue:default": Rate(0, SECOND)})
    store.post([job("a")])
    for _ in range(3):
        claimed = store.claim("e1", want())
        assert (claimed.rows, claimed.next_at) == ([], clock.now + SECOND)
        clock.advance(1)


def test_many_rates(store: RedisStore, clock: FakeClock) -> None:
    """Each customer has one; the order is strict among them all."""
    store.limit({}, {f"key:{n}": Rate(2, SECOND) for n in range(100)})
    store.post([job(f"{n:04}", holds=((f"key:{n % 100}", 1),)) for n in range(500)])
    assert names(claim(store)) == [f"{n:04}" for n in range(200)]
    assert claim(store) == []
    clock.advance(1)
    assert names(claim(store)) == [f"{n:04}" for n in range(200, 400)]


# what is posted


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", '{"a":"\ud800\u0000"}'])
def test_half_a_character_in_the_arguments_is_kept(store: RedisStore, text: str) -> None:
    store.post([job("a", args=text)])
    assert look(store, "a").job == job("a", args=text)
    assert claim_one(store).job.args == text


def test_half_a_character_elsewhere_is_refused_before_anything_is_stored(store: RedisStore) -> None:
    with pytest.raises(PayloadError, match="lone surrogate"):
        store.post([job("good"), job("bad", queue="\ud800")])
    assert store.find(JobQuery()).rows == []


def test_nul_is_neither_lost_nor_the_end(store: RedisStore) -> None:
    odd = job("a\0b", task="t\0u", queue="q\0r", args='"x\0y"', tags=("s\0t",), holds=(("h\0i", 1),))
    store.post([odd, job("a", task="t", queue="q", tags=("s",))])
    assert look(store, "a\0b").job == odd
    assert names(store.find(JobQuery(tag="s\0t")).rows) == ["a\0b"]
    store.limit({"h\0i": 1})
    assert claim_one(store, tasks={"t\0u": 1}, queues=("q\0r",)).job == odd


@pytest.mark.parametrize("time", [2**53 + 1, 253_402_300_799_999_999, 2**62 + 1])
def test_times_beyond_what_lua_counts(store: RedisStore, time: int) -> None:
    """The year 9999 is a common way to say never."""
    never = job("a", run_at=time, expires_at=time + 1, promote_at=time, deadline=time, priority=-(2**40))
    store.post([never, job("b")])
    row = look(store, "a")
    assert (row.job, row.run_at, row.expires_at, row.priority) == (never, time, time + 1, -(2**40))
    retried = claim_one(store)
    finish(store, retried, "scheduled", run_at=time)
    assert look(store, "b").run_at == time
    assert abs((store.claim("e1", want()).next_at or 0) - time) <= 1024
    states: list[State] = ["scheduled", "scheduled"]
    assert [look(store, name).state for name in "ab"] == states


def test_loaded_times_are_exact(store: RedisStore) -> None:
    store.post([job("a", run_at=2**60 + 1)])
    record = Record(look(store, "a"))
    store.change(["a"], Ask(kind="cancel"))
    store.change(["a"], Ask(kind="forget"))
    assert store.load([record]) == [True]
    assert look(store, "a") == record.row


# posting and claiming in one step


def test_what_is_posted_is_claimed(store: RedisStore) -> None:
    assert isinstance(store, PostsAndClaims)
    posted, claimed = store.post_and_claim([job("a")], "e1", want())
    (row,) = claimed.rows
    assert [one.id for one in posted] == ["a"]
    assert (row.job.id, row.state, row.attempt, row.token, row.executor_id) == ("a", "running", 1, 1, "e1")
    assert claim(store) == []
    assert finish(store, row)


def test_a_better_job_that_waits_goes_first(store: RedisStore) -> None:
    store.post([job("better", priority=HIGH)])
    _, claimed = store.post_and_claim([job("a")], "e1", want(count=1))
    assert names(claimed.rows) == ["better"]
    assert names(claim(store)) == ["a"]


def test_what_time_brings_is_left_to_the_next_claim(store: RedisStore, clock: FakeClock) -> None:
    store.post([job("later", run_at=clock.now + SECOND, priority=HIGH)])
    clock.advance(2)
    _, claimed = store.post_and_claim([job("a")], "e1", want())
    assert claimed.rows == []
    assert names(claim(store)) == ["later", "a"]


def test_others_are_woken_only_for_what_is_left(store: RedisStore) -> None:
    ear = store.listen(frozenset({"ready"}))
    store.post_and_claim([job("a")], "e1", want())
    assert ear.wait(0.05) == frozenset()
    store.post_and_claim(jobs(2), "e1", want(slots=1))
    assert ear.wait(5) == {"ready"}


def test_the_clock_is_the_servers(valkey: str, admin: Redis) -> None:
    one = make(f"{valkey}?namespace={new_namespace()}")
    one.open()
    before = admin.time()
    one.post([job("a")])
    row = claim_one(one)
    seen = one.now()
    after = admin.time()
    first, last = (seconds * SECOND + micros for seconds, micros in (before, after))
    assert first <= look(one, "a").posted_at <= (row.started_at or 0) <= last
    assert first - SECOND < seen < last + SECOND
    one.close()
