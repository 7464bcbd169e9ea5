"""One Redis, many processes: no job twice, one job a unique key, and everyone is woken."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from redis_servers import make, new_namespace

from ostinato.testing.samples import job, jobs
from ostinato_redis.store import RedisStore

START = """
import sys
from ostinato.model import Unique
from ostinato.testing.samples import claim, end, job, jobs
from ostinato_redis.address import address
from ostinato_redis.store import RedisStore

store = RedisStore(address(sys.argv[1]))
store.open()
print("here", flush=True)
"""
DRAIN = (
    START
    + """
sys.stdin.readline()
store.post(jobs(50, prefix=sys.argv[2]))
while rows := claim(store, sys.argv[2], count=7):
    assert all(store.finish([end(row) for row in rows]))
    print(*[row.job.id for row in rows], flush=True)
store.close()
"""
)
POST_ONE = (
    START
    + """
sys.stdin.readline()
for n in range(20):
    (posted,) = store.post([job(f"{sys.argv[2]}-{n}", unique=Unique(f"key {n}"))])
    print(posted.id, posted.created, flush=True)
store.close()
"""
)
LISTEN = (
    START
    + """
listener = store.listen(frozenset(sys.argv[2:]))
print("listening", flush=True)
while heard := listener.wait(100):
    print(*heard, flush=True)
"""
)


@pytest.fixture(params=["valkey", "valkey_cluster"])
def url(request: pytest.FixtureRequest) -> str:
    return f"{request.getfixturevalue(request.param)}?namespace={new_namespace()}"


@pytest.fixture
def store(url: str) -> Iterator[RedisStore]:
    one = make(url)
    one.open()
    yield one
    one.close()


@contextmanager
def process(script: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has said that it is here."""
    command = [sys.executable, "-c", script, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert heard(running) == "here"
            yield running
        finally:
            running.kill()


def heard(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    return running.stdout.readline().strip()


def all_together(script: str, url: str, names: str) -> list[str]:
    """What processes say that begin at the same time."""
    command = [sys.executable, "-c", script, url]
    running = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for name in names
    ]
    for one in running:
        assert heard(one) == "here"
    for one in running:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    said = [line for one in running for line in one.communicate()[0].splitlines()]
    assert [one.returncode for one in running] == [0] * len(names)
    return said


def test_processes_never_share_a_job(store: RedisStore, url: str) -> None:
    store.post(jobs(200))
    said = " ".join(all_together(DRAIN, url, "pqr")).split()
    wanted = [made.id for prefix in "jpqr" for made in jobs(200 if prefix == "j" else 50, prefix)]
    assert sorted(said) == sorted(wanted)


def test_eight_processes_post_the_same_keys(store: RedisStore, url: str) -> None:
    said = [line.split() for line in all_together(POST_ONE, url, "abcdefgh")]
    created = {job_id for job_id, created in said if created == "True"}
    assert len(said) == 8 * 20
    assert len([1 for _, created in said if created == "True"]) == 20
    assert {job_id for job_id, _ in said} == created
    assert sum(count.jobs for count in store.count()) == 20


def test_listener_of_another_process_is_woken(store: RedisStore, url: str) -> None:
    with process(LISTEN, url, "ready") as running:
        assert heard(running) == "listening"
        store.post([job("a")])
        assert heard(running) == "ready"
