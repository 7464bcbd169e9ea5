"""MariaDB as a server: several processes at once, a restart, what is looked at while nothing happens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from mariadb_servers import connected, emptied, new_server
from s3_servers import wait_until
from sql_processes import DRAIN, TWINS, in_processes, opened, used_before

from ostinato.errors import StoreUnavailable
from ostinato.storage import JobQuery
from ostinato.testing.samples import claim, claim_one, finish, job, jobs, names
from ostinato_sql.store import SqlStore


@pytest.fixture
def store(mariadb: str) -> Iterator[SqlStore]:
    one = opened(emptied(mariadb))
    yield one
    one.close()


def test_processes_never_share_a_job_nor_exceed_a_capacity(store: SqlStore, mariadb: str) -> None:
    store.limit({"gpu": 4})
    store.post([*jobs(60, "free"), *jobs(60, "held", holds=(("gpu", 1),))])
    said = in_processes(DRAIN, 4, mariadb)
    said += [[row.job.id, str(row.token)] for row in claim(store)]
    taken = sorted(words[0] for words in said if words[0] != "most")
    assert taken == sorted(one.id for one in [*jobs(60, "free"), *jobs(60, "held")])
    assert max(int(words[1]) for words in said if words[0] == "most") <= 4


def test_8_processes_that_post_a_unique_key_make_one_job(store: SqlStore, mariadb: str) -> None:
    used_before(store)
    said = in_processes(TWINS, 8, mariadb)
    for n in range(20):
        about = [(job_id, created) for number, job_id, created in said if number == str(n)]
        assert len({job_id for job_id, _ in about}) == 1
        assert [created for _, created in about].count("True") == 1
    assert len(store.find(JobQuery(states=("ready",), limit=1000)).rows) == 20


def test_restart_of_the_server() -> None:
    server = new_server()
    store, other = opened(server.url), opened(server.url)
    ear = store.listen(frozenset({"ready"}))
    store.post(jobs(2))
    row = claim_one(store)
    server.stop()
    with pytest.raises(StoreUnavailable, match="mysql://"):
        store.post([job("lost")])
    server.start()
    assert finish(store, row)
    assert store.post([job("a")])[0].created
    assert names(claim(store)) == ["j0001", "a"]

    def is_heard() -> bool:
        other.post([job(f"b{other.now()}")])
        return bool(ear.wait(0.5))

    wait_until(is_heard)
    store.close()
    other.close()
    server.remove()


def test_waiting_asks_less_than_once_a_second(store: SqlStore, mariadb: str) -> None:
    ear = store.listen(frozenset({"ready"}))
    while ear.wait(2.5):  # it looks more often while there is news
        pass
    with connected(mariadb) as foreign, foreign.cursor() as cursor:

        def asked() -> int:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Questions'")
            return int(cursor.fetchone()[1])

        before = asked()
        ear.wait(3)
        assert asked() - before <= 4  # this question included


def test_numbers_of_jobs_survive_a_crash_of_the_server() -> None:
    """The counter they come from is never rolled back to numbers that were given."""
    server = new_server()
    store = opened(server.url)
    store.post(jobs(3))
    server.stop()
    server.start()
    assert all(posted.created for posted in store.post(jobs(3, "later")))
    assert names(claim(store)) == [one.id for one in [*jobs(3), *jobs(3, "later")]]
    store.close()
    server.remove()
