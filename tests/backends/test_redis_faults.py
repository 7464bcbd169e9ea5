"""What goes wrong with a Redis server, and what its users are told: on a server that may be own_valkey."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis_servers import QUICK, client, make, new_namespace, opened, redis_program, server, start, url, valkey_program
from s3_servers import Server, free_port, wait_until

from ostinato.errors import ConfigError, StoreCorrupt, StoreError, StoreUnavailable
from ostinato.storage import JobQuery, Note, Rescue
from ostinato.testing.samples import LEASE, claim, claim_one, exists, finish, info, job, jobs
from ostinato_redis.store import RedisStore


@contextmanager
def setting(admin: Redis, **values: object) -> Iterator[None]:
    before = {name.replace("_", "-"): admin.config_get(name.replace("_", "-")) for name in values}
    for name, value in values.items():
        admin.config_set(name.replace("_", "-"), value)
    try:
        yield
    finally:
        for name, found in before.items():
            admin.config_set(name, next(iter(found.values())))


# the data


@pytest.mark.parametrize("how", ["flushed", "restarted"])
def test_lost_data_is_told_once_to_each_store(
    own_valkey: Server, admin: Redis, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    place = url(own_valkey)
    with opened(place) as one, opened(place) as two:
        one.post([job("a")])
        if how == "flushed":
            admin.flushall()
        else:
            own_valkey.stop()
            start(own_valkey)
        for store in (one, two):
            with pytest.raises(StoreError, match=r"are gone.*appendonly yes"):
                store.post([job("b")])
            assert not exists(store, "b")
        assert "are gone" in caplog.text
        one.post([job("c")])
        assert [row.job.id for row in claim(two)] == ["c"]
        assert [count.jobs for count in one.count()] == [1]


def test_outcome_of_a_job_that_was_lost_is_refused(own_valkey: Server, admin: Redis) -> None:
    with opened(url(own_valkey)) as store:
        store.post([job("a")])
        row = claim_one(store)
        admin.flushall()
        with pytest.raises(StoreError, match="are gone"):
            finish(store, row)
        assert not finish(store, row)


def test_restart_with_its_data_is_not_noticed(tmp_path: Path) -> None:
    """The scripts are gone with the old process, the jobs are not."""
    durable = start(server(valkey_program(), tmp_path / "data", "--save", "", "--appendonly", "yes"))
    with opened(url(durable)) as store:
        store.post(jobs(3))
        row = claim_one(store)
        durable.stop()
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            store.post([job("x")])
        start(durable)
        assert finish(store, row)
        assert [row.job.id for row in claim(store)] == ["j0001", "j0002"]
    durable.stop()


def test_forgotten_scripts_are_sent_again(own_valkey: Server, admin: Redis) -> None:
    with opened(url(own_valkey)) as store:
        store.post([job("a")])
        admin.script_flush()
        assert store.post([job("b")])[0].created


def test_newer_schema(own_valkey: Server, admin: Redis) -> None:
    name = new_namespace()
    admin.hset(f"{{{name}}}", "schema", 99)
    with pytest.raises(StoreCorrupt, match="pip install -U ostinato"), opened(url(own_valkey, namespace=name)):
        pass


def test_keys_of_somebody_else(own_valkey: Server, admin: Redis) -> None:
    name = new_namespace()
    admin.set(f"{{{name}}}", "mine")
    with pytest.raises(StoreCorrupt, match="namespace of your own"), opened(url(own_valkey, namespace=name)):
        pass


# the server


def test_unreachable() -> None:
    with pytest.raises(StoreUnavailable, match="cannot be reached"), opened(f"redis://127.0.0.1:{free_port()}"):
        pass


def test_verb_before_open_and_after_close(own_valkey: Server) -> None:
    store = make(url(own_valkey))
    for act in (lambda: store.post([job("a")]), lambda: store.listen(frozenset(["ready"])), store.now):
        with pytest.raises(StoreUnavailable, match=r"Call open\(\)"):
            act()
        store.open()
        store.close()


def test_replica_takes_no_writes(own_valkey: Server, admin: Redis, caplog: pytest.LogCaptureFixture) -> None:
    with opened(url(own_valkey)) as store:
        admin.replicaof("127.0.0.1", free_port())
        try:
            with pytest.raises(StoreUnavailable, match=r"is a replica.*Name the primary"):
                store.post([job("a")])
            with pytest.raises(StoreUnavailable, match="Name the primary"), opened(url(own_valkey)):
                pass
            with setting(admin, replica_serve_stale_data="no"):
                with pytest.raises(StoreUnavailable, match="lost its primary"):
                    store.post([job("a")])
        finally:
            admin.replicaof("NO", "ONE")
        assert store.post([job("a")])[0].created


def test_full_memory_refuses_posts_and_lets_jobs_end(own_valkey: Server, admin: Redis) -> None:
    with opened(url(own_valkey)) as store:
        store.post(jobs(2))
        first, second = claim(store)
        with setting(admin, maxmemory=1):
            with pytest.raises(StoreUnavailable, match="Raise maxmemory"):
                store.post(jobs(3, "k"))
            assert store.renew(info("e1"), [first.fence], LEASE).lost == []
            assert store.note([Note(first.job.id, first.token, 1, "progress", "[1]")]) == [True]
            (rescued,) = store.rescue("e2", Rescue(dead=("e1",), count=1))
            assert finish(store, rescued if rescued.job.id == first.job.id else first)
        assert finish(store, rescued if rescued.job.id == second.job.id else second)
        assert sum(one.jobs for one in store.count()) == 2


def test_failed_saving_stops_writes(own_valkey: Server, admin: Redis) -> None:
    with opened(url(own_valkey)) as store, setting(admin, stop_writes_on_bgsave_error="yes", save="3600 1"):
        place = Path(admin.config_get("dir")["dir"]) / "dump.rdb"
        place.mkdir()
        admin.bgsave()
        wait_until(lambda: admin.info("persistence")["rdb_last_bgsave_status"] == "err")
        try:
            with pytest.raises(StoreUnavailable, match="cannot save to its disk"):
                store.post([job("a")])
        finally:
            place.rmdir()
            admin.save()
        assert store.post([job("a")])[0].created


def test_loading(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    options = ["--save", "", "--appendonly", "no", "--dbfilename", "dump.rdb"]
    first = start(server(valkey_program(), folder, *options))
    with client(first) as asked:
        asked.mset({f"k{n}": "x" * 100 for n in range(2000)})
        asked.save()
    first.stop()
    slowly = ["--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024"]
    slow = server(valkey_program(), folder, *options, *slowly)
    slow.start()
    try:
        with pytest.raises(StoreUnavailable, match="still loading"), opened(url(slow)):
            pass
    finally:
        slow.stop()


def test_silence_leaves_it_open_whether_it_was_done(own_valkey: Server) -> None:
    """The request is in the server's hands already; it is carried out when it wakes up."""
    with opened(url(own_valkey, timeout=0.3)) as store:
        store.post([job("first")])  # so that the server knows the script: it would refuse another's digest
        own_valkey.signal(signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailable, match="may have been done or not"):
                store.post([job("a")])
        finally:
            own_valkey.signal(signal.SIGCONT)
        wait_until(lambda: exists(store, "a"))
        assert not store.post([job("a")])[0].created


def test_claim_is_not_sent_twice(own_valkey: Server, admin: Redis) -> None:
    """Else the answer to the first would be lost with the jobs in it."""
    with opened(url(own_valkey)) as patient, opened(url(own_valkey, timeout=0.3)) as other:
        for store in (patient, other):
            store.post(jobs(4))
        assert claim(other, tasks={"unknown": 1}) == []  # so that the server knows the script
        own_valkey.signal(signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailable):
                claim(other, count=1)
        finally:
            own_valkey.signal(signal.SIGCONT)
        wait_until(lambda: _running(other) == 1)
        assert len(claim(other)) == 3


def _running(store: RedisStore) -> int:
    return sum(count.jobs for count in store.count() if count.state == "running")


# rights


@pytest.fixture
def limited(own_valkey: Server, admin: Redis) -> Iterator[str]:
    """A namespace, and a user who may use it and nothing else: the rights that the messages and pages name."""
    name = new_namespace()
    rights = f"on >pass-word ~{{{name}}}* &{{{name}}}* +@all -@dangerous +info"
    admin.execute_command("ACL", "SETUSER", "worker", "reset", *rights.split())
    yield name
    admin.execute_command("ACL", "DELUSER", "worker")


def as_user(own_valkey: Server, name: str, password: str = "pass-word") -> str:
    return f"redis://worker:{password}@127.0.0.1:{own_valkey.port}/0?namespace={name}"


def test_few_rights_suffice(own_valkey: Server, limited: str) -> None:
    with opened(as_user(own_valkey, limited)) as store:
        listener = store.listen(frozenset(["ready"]))
        store.post([job("a")])
        assert listener.wait(20) == {"ready"}
        assert finish(store, claim_one(store))
        assert "crash" in store.durable


def test_missing_right_to_keys(own_valkey: Server, limited: str) -> None:
    with (
        pytest.raises(StoreUnavailable, match=r"lacks a right.*ACL SETUSER"),
        opened(as_user(own_valkey, new_namespace())),
    ):
        pass


@pytest.mark.parametrize("user", ["worker:wrong-secret", "nobody:wrong-secret"])
def test_wrong_password(own_valkey: Server, limited: str, user: str) -> None:
    with pytest.raises(StoreUnavailable, match="refuses the user or password") as caught:
        make(f"redis://{user}@127.0.0.1:{own_valkey.port}").open()
    assert "wrong-secret" not in str(caught.value)


def test_missing_password(own_valkey: Server, admin: Redis) -> None:
    with setting(admin, requirepass="secret"):
        with pytest.raises(StoreUnavailable, match="refuses the user or password"):
            make(url(own_valkey)).open()


# what is kept


def test_eviction_is_warned_of(own_valkey: Server, admin: Redis, caplog: pytest.LogCaptureFixture) -> None:
    with setting(admin, maxmemory_policy="allkeys-lru"), opened(url(own_valkey)) as store:
        assert "allkeys-lru): set noeviction" in caplog.text
        assert "may evict jobs" in store.durable


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (QUICK, "saves nothing"),
        (("--save", "3600 1", "--appendonly", "no"), "since its last snapshot"),
        (("--save", "", "--appendonly", "yes"), "may lose the last second"),
        (("--save", "", "--appendonly", "yes", "--appendfsync", "always"), "each is synced to disk"),
        (("--save", "", "--appendonly", "yes", "--appendfsync", "no"), "half minute"),
    ],
)
def test_says_what_a_post_survives(
    tmp_path: Path, options: tuple[str, ...], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    one = start(server(valkey_program(), tmp_path / "data", *options))
    with opened(url(one)) as store:
        assert said in store.durable
        assert ("loses all jobs" in caplog.text) == (options is QUICK)
    one.stop()


@pytest.mark.parametrize("program", [valkey_program, redis_program])
def test_durability_aof(tmp_path: Path, program: type[str], caplog: pytest.LogCaptureFixture) -> None:
    """Each post and outcome is synced before it returns; a claim is not."""
    one = start(server(program(), tmp_path / "data", "--save", "", "--appendonly", "yes", "--appendfsync", "always"))
    caplog.set_level(logging.WARNING)
    with client(one) as asked, opened(url(one, durability="aof")) as store:
        assert "synced to disk" in store.durable

        def synced() -> int:
            return int(asked.info("commandstats").get("cmdstat_waitaof", {}).get("calls", 0))

        store.post([job("a")])
        rows = claim(store)
        assert finish(store, rows[0])  # the server knows the scripts now
        for act in (lambda: store.post([job("b")]), lambda: store.post([job("b")])):
            before = synced()
            act()
            assert synced() == before + 1
        (row,) = claim(store)
        before = synced()
        assert claim(store) == []
        assert synced() == before
        assert finish(store, row)
        assert synced() == before + 1
    one.stop()


def test_durability_aof_without_such_a_file(own_valkey: Server) -> None:
    with pytest.raises(ConfigError, match="appendonly yes"), opened(url(own_valkey, durability="aof")):
        pass


def test_not_on_disk_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs: what was stored may be lost with the machine, so that it is not said to be safe."""
    one = start(server(valkey_program(), tmp_path / "data", "--save", "", "--appendonly", "yes"))
    with client(one) as asked, opened(url(one, durability="aof", timeout=0.4)) as store:
        asked.config_set("appendfsync", "no")
        with pytest.raises(StoreUnavailable, match="not yet on disk"):
            store.post([job("a")])
        asked.config_set("appendfsync", "always")  # by then, not within a second
        assert store.post([job("a")]) is not None
    one.stop()


def test_all_is_left_as_it_was(own_valkey: Server, admin: Redis) -> None:
    """The tests above give back the server as they found it."""
    with opened(url(own_valkey)) as store:
        assert store.find(JobQuery()).rows == []
