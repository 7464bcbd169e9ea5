"""PostgreSQL as a server: several processes at once, restarts, poolers, clocks."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from deaf_proxy import DeafProxy
from postgres_servers import FAST, PostgresServer, emptied, new_server
from s3_servers import wait_until
from sql_processes import DRAIN, TWINS, in_processes, opened, used_before

from ostinato.errors import StoreUnavailable
from ostinato.model import SECOND, Row
from ostinato.storage import Fence, JobQuery, Rate
from ostinato.testing.samples import claim, claim_one, end, finish, info, job, jobs, look, names, want
from ostinato_sql import push
from ostinato_sql.store import SqlStore


@pytest.fixture
def store(postgres18: str) -> Iterator[SqlStore]:
    one = opened(emptied(postgres18))
    yield one
    one.close()


@pytest.fixture
def foreign(postgres18: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Another program that looks at the tables."""
    with psycopg.connect(postgres18) as connection:
        yield connection


# several at once


def test_processes_never_share_a_job_nor_exceed_a_capacity(store: SqlStore, postgres18: str) -> None:
    store.limit({"gpu": 4})
    store.post([*jobs(60, "free"), *jobs(60, "held", holds=(("gpu", 1),))])
    said = in_processes(DRAIN, 4, postgres18)
    said += [[row.job.id, str(row.token)] for row in claim(store)]  # none, if the others did not idle
    taken = sorted(words[0] for words in said if words[0] != "most")
    assert taken == sorted(one.id for one in [*jobs(60, "free"), *jobs(60, "held")])
    assert max(int(words[1]) for words in said if words[0] == "most") <= 4


@pytest.mark.parametrize("where", ["postgresql", "sqlite"])
def test_8_processes_that_post_a_unique_key_make_one_job(
    request: pytest.FixtureRequest, tmp_path: object, where: str
) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    if where == "postgresql":
        url = emptied(request.getfixturevalue("postgres18"))
    store = opened(url)
    used_before(store)
    said = in_processes(TWINS, 8, url)
    assert len(said) == 160
    for n in range(20):
        about = [(job_id, created) for number, job_id, created in said if number == str(n)]
        assert len({job_id for job_id, _ in about}) == 1
        assert [created for _, created in about].count("True") == 1
    assert len(store.find(JobQuery(states=("ready",), limit=1000)).rows) == 20
    store.close()


def test_claims_do_not_wait_for_one_another(store: SqlStore, foreign: psycopg.Connection[tuple[object, ...]]) -> None:
    store.post(jobs(4))
    foreign.execute("SELECT FROM ostinato_jobs WHERE id IN ('j0000', 'j0001') FOR UPDATE")
    assert names(claim(store, count=1)) == ["j0002"]
    foreign.rollback()
    assert names(claim(store)) == ["j0000", "j0001", "j0003"]


def test_job_that_another_has_locked_takes_no_room(
    store: SqlStore, foreign: psycopg.Connection[tuple[object, ...]]
) -> None:
    store.limit({"queue:default": 1}, {"task:work": Rate(1, SECOND)})
    store.post(jobs(2))
    foreign.execute("SELECT FROM ostinato_jobs WHERE id = 'j0000' FOR UPDATE")
    assert names(claim(store)) == ["j0001"]
    foreign.rollback()


def test_claim_locks_only_what_it_takes(store: SqlStore, postgres18: str) -> None:
    """With jobs in several lines, others must not overlook what it has looked at and left."""
    store.post([job(f"j{n}", queue=f"q{n}") for n in range(8)])
    seen: list[list[str]] = []
    begun, done = threading.Event(), threading.Event()

    with store._database.read() as link:

        def work() -> None:
            from ostinato_sql import claim as claiming

            def slow(writing: object) -> list[Row]:
                claimed = claiming.claim_within(writing, store._database, "e1", want(count=1, queues=("*",)))
                begun.set()
                done.wait(10)
                return claimed.rows

            seen.append(names(store._database.write(slow)))

        other = threading.Thread(target=work)
        other.start()
        assert begun.wait(10)
        assert len(claim(store, "e2", queues=("*",))) == 7
        done.set()
        other.join()
        assert link is not None
    assert seen == [["j0"]]


def test_renewal_waits_for_nobody(store: SqlStore, foreign: psycopg.Connection[tuple[object, ...]]) -> None:
    """A finish that takes long holds its jobs; the other runs of the executor must not lose their leases."""
    store.post(jobs(2))
    rows = claim(store)
    foreign.execute("SELECT FROM ostinato_jobs WHERE id = 'j0000' FOR UPDATE")
    before = look(store, "j0001").lease_until
    renewal = store.renew(info("e1"), [row.fence for row in rows], 3600 * SECOND)
    foreign.rollback()
    assert renewal.lost == []
    after = look(store, "j0001").lease_until
    assert before is not None
    assert after is not None
    assert after > before + 3000 * SECOND


def test_deadlocks_are_settled_inside(store: SqlStore) -> None:
    """Posts of the same ids in opposite orders wait for each other, until the server undoes one."""
    many = jobs(300)
    store.post([job("first")])  # of a line that is new, one post waits for the other
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(store.post, [many, many[::-1], many, many[::-1]]))
    assert sum(posted.created for answer in answers for posted in answer) == 300


def test_a_limit_waits_for_claims_that_do_not_know_it(
    store: SqlStore, foreign: psycopg.Connection[tuple[object, ...]]
) -> None:
    """Else a job that was claimed while its queue was unlimited would not be counted by the next claim."""
    key = store._dialect._lock_keys[0]  # type: ignore[attr-defined]
    foreign.execute(f"SELECT pg_advisory_xact_lock_shared({key})")  # type: ignore[arg-type]
    assert store.post(jobs(2))
    assert len(claim(store, count=1)) == 1
    limiting = threading.Thread(target=lambda: store.limit({"queue:default": 1}))
    limiting.start()
    limiting.join(0.2)
    assert limiting.is_alive()
    foreign.rollback()
    limiting.join(10)
    assert claim(store) == []


# a server that comes and goes


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    server = new_server("18", {**FAST, "autovacuum": "off"})
    yield server
    server.remove()


def test_restart_of_the_server(own_server: PostgresServer) -> None:
    """Connections that died while they were idle cost nobody an error; listening begins again by itself."""
    store, other = opened(own_server.url), opened(own_server.url)
    ear = store.listen(frozenset({"ready"}))
    store.post(jobs(2))
    row = claim_one(store)
    own_server.stop()
    with pytest.raises(StoreUnavailable, match="postgresql://"):
        store.post([job("lost")])
    own_server.start()
    assert finish(store, row)
    assert store.post([job("a")])[0].created
    assert names(claim(store)) == ["j0001", "a"]
    wait_until(lambda: store._waker is not None and store._waker.works)  # type: ignore[attr-defined]
    while ear.wait(0.05):
        pass
    other.post([job("b")])
    assert ear.wait(10) == {"ready"}
    store.close()
    other.close()


def test_connection_that_is_cut_is_replaced(store: SqlStore, foreign: psycopg.Connection[tuple[object, ...]]) -> None:
    store.post([job("a")])
    foreign.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'ostinato'")
    assert names(claim(store)) == ["a"]
    assert look(store, "a").state == "running"


def test_the_clock_is_the_servers(store: SqlStore, foreign: psycopg.Connection[tuple[object, ...]]) -> None:
    found = foreign.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    assert found is not None
    assert isinstance(found[0], float)
    assert abs(store.now() / SECOND - found[0]) < 0.5


def test_stopped_process_does_not_hold_its_locks_for_ever(store: SqlStore) -> None:
    def look_up(link: object) -> str:
        link.cursor.execute("SHOW idle_in_transaction_session_timeout")  # type: ignore[attr-defined]
        return str(link.cursor.fetchone()[0])  # type: ignore[attr-defined]

    assert store._database.write(look_up) == "15s"


@pytest.mark.parametrize("verb", ["post", "claim", "finish"])
def test_connection_that_breaks_at_the_commit(store: SqlStore, proxy: DeafProxy, verb: str) -> None:
    """Whether it was applied is not known then; to ask again is safe."""
    far = opened(proxy.url)
    if verb != "post":
        store.post([job("a")])
    row = claim_one(store) if verb == "finish" else None
    acts: dict[str, Callable[[], object]] = {
        "post": lambda: far.post([job("a")]),
        "claim": lambda: claim(far),
        "finish": lambda: far.finish([end(row)]) if row else None,
    }
    assert far.find(JobQuery()) is not None
    proxy.cut = b"COMMIT\0"
    with pytest.raises(StoreUnavailable):
        acts[verb]()
    proxy.cut = b""
    if verb == "post":
        wait_until(lambda: store.find(JobQuery()).rows)
        assert [one.created for one in far.post([job("a")])] == [False]
    elif verb == "claim":
        wait_until(lambda: look(store, "a").state == "running")
        assert claim(far) == []
    else:
        wait_until(lambda: look(store, "a").state == "succeeded")
        assert acts[verb]() == [True]
        assert len(store.attempts(["a"])) == 1
    far.close()


# waking


def test_many_posts_are_told_together(store: SqlStore, postgres18: str) -> None:
    channel = store._waker._channel  # type: ignore[union-attr]
    with psycopg.connect(postgres18, autocommit=True) as ear:
        ear.execute(f'LISTEN "{channel}"')  # type: ignore[arg-type]
        begun = time.monotonic()
        for one in jobs(100):
            store.post([one])
        passed = time.monotonic() - begun
        told = list(ear.notifies(timeout=0.3))
    assert 2 <= len(told) <= passed / 0.010 + 2  # the first, and one a window, the last included


@pytest.fixture
def proxy(postgres18: str) -> Iterator[DeafProxy]:
    one = DeafProxy(psycopg.conninfo.conninfo_to_dict(postgres18))
    yield one
    one.close()


def test_behind_a_pooler_that_hears_nothing_it_looks(
    store: SqlStore, proxy: DeafProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(push, "PROBE", 0.2)
    deaf = opened(proxy.url)
    ear = deaf.listen(frozenset({"ready", "ended"}))
    waker = deaf._waker
    assert isinstance(waker, push.Pushing)
    wait_until(lambda: waker.works is False)
    while ear.wait(0.05):
        pass
    store.post([job("a")])
    assert ear.wait(10) == {"ready"}
    assert finish(store, claim_one(store))
    assert "ended" in ear.wait(10)
    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 1
    assert "PgBouncer" in said[0]
    deaf.close()


def test_idle_listening_asks_the_server_nothing(
    store: SqlStore, foreign: psycopg.Connection[tuple[object, ...]]
) -> None:
    ear = store.listen(frozenset({"ready"}))
    waker = store._waker
    assert isinstance(waker, push.Pushing)
    wait_until(lambda: waker.works)
    foreign.autocommit = True

    def asked() -> object:
        return foreign.execute(
            "SELECT max(state_change) FROM pg_stat_activity WHERE application_name = 'ostinato'"
        ).fetchone()

    before = asked()
    ear.wait(1.5)
    assert asked() == before


# what cannot be reached


def test_server_that_is_not_there() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        opened("postgresql://me:secret@127.0.0.1:9/jobs")
    assert "postgresql://me@127.0.0.1:9/jobs" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_database_that_is_not_there(postgres18: str) -> None:
    with pytest.raises(StoreUnavailable, match="createdb"):
        opened(postgres18.rpartition("/")[0] + "/nothing")


def test_stale_fences_are_refused_after_everything(store: SqlStore) -> None:
    store.post([job("a")])
    row = claim_one(store)
    assert store.finish([(Fence("a", row.token + 1), end(row)[1])]) == [False]


def test_says_what_the_server_makes_of_a_crash(store: SqlStore) -> None:
    assert "fsync=off" in store.durable
