"""One Redis, many processes: no job twice, one job a unique key, and everyone is woken."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from processes import DRAIN, LISTEN, all_together, heard, process
from redis_servers import new_namespace, opened

from ostinato.testing.samples import job, jobs
from ostinato_redis.store import RedisStore

START = """
import sys
from ostinato_redis.address import address
from ostinato_redis.store import RedisStore

store, words = RedisStore(address(sys.argv[1])), sys.argv[2:]
store.open()
"""
POST_ONE = """
from ostinato.model import Unique
from ostinato.testing.samples import job
print("here", flush=True)
sys.stdin.readline()
for n in range(20):
    (posted,) = store.post([job(f"{words[0]}-{n}", unique=Unique(f"key {n}"))])
    print(posted.id, posted.created, flush=True)
store.close()
"""


@pytest.fixture(params=["valkey", "valkey_cluster"])
def url(request: pytest.FixtureRequest) -> str:
    return f"{request.getfixturevalue(request.param)}?namespace={new_namespace()}"


@pytest.fixture
def store(url: str) -> Iterator[RedisStore]:
    with opened(url) as one:
        yield one


def test_processes_never_share_a_job(store: RedisStore, url: str) -> None:
    store.post(jobs(200))
    said = " ".join(all_together(START + DRAIN, *[(url, name) for name in "pqr"])).split()
    wanted = [made.id for prefix in "jpqr" for made in jobs(200 if prefix == "j" else 50, prefix)]
    assert sorted(said) == sorted(wanted)


def test_eight_processes_post_the_same_keys(store: RedisStore, url: str) -> None:
    said = [line.split() for line in all_together(START + POST_ONE, *[(url, name) for name in "abcdefgh"])]
    created = {job_id for job_id, created in said if created == "True"}
    assert len(said) == 8 * 20
    assert len([1 for _, created in said if created == "True"]) == 20
    assert {job_id for job_id, _ in said} == created
    assert sum(count.jobs for count in store.count()) == 20


def test_listener_of_another_process_is_woken(store: RedisStore, url: str) -> None:
    with process(START + LISTEN, url, "ready") as running:
        store.post([job("a")])
        assert heard(running) == "ready"
