"""A slot that moves from one node of a cluster to another, with all that is in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis_servers import client, join, new_namespace, node, opened, start
from s3_servers import Server, wait_until

from ostinato.errors import StoreUnavailable
from ostinato.testing.samples import claim, claim_one, finish, jobs
from ostinato_redis.store import RedisStore


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """A cluster whose slots are ours to move."""
    started = [start(node(tmp_path_factory.mktemp(f"mine{n}"))) for n in range(2)]
    join(started)
    yield started
    for one in started:
        one.stop()


class Move:
    """Of the slot of one namespace, step by step as ``valkey-cli --cluster reshard`` does it."""

    def __init__(self, nodes: list[Server], own: str) -> None:
        asked = [client(one) for one in nodes]
        self.slot = int(asked[0].execute_command("CLUSTER KEYSLOT", own))
        self.source, self.target = asked if self.slot < 8192 else asked[::-1]
        self.port = nodes[1 if self.slot < 8192 else 0].port
        self._nodes = asked
        self._ids = [_id(one) for one in (self.source, self.target)]

    def begin(self) -> None:
        source, target = self._ids
        self.target.execute_command("CLUSTER SETSLOT", self.slot, "IMPORTING", source)
        self.source.execute_command("CLUSTER SETSLOT", self.slot, "MIGRATING", target)

    def keys(self) -> list[bytes]:
        return sorted(self.source.execute_command("CLUSTER GETKEYSINSLOT", self.slot, 1000))

    def carry(self, keys: list[bytes]) -> None:
        self.source.execute_command("MIGRATE", "127.0.0.1", self.port, "", 0, 5000, "KEYS", *keys)

    def end(self) -> None:
        for one in (self.target, self.source):
            one.execute_command("CLUSTER SETSLOT", self.slot, "NODE", self._ids[1])
        for one in self._nodes:
            one.close()


def _id(asked: Redis) -> str:
    told = asked.execute_command("CLUSTER MYID")
    return told.decode() if isinstance(told, bytes) else str(told)


@pytest.fixture
def own() -> str:
    return new_namespace()


@pytest.fixture
def store(nodes: list[Server], own: str) -> Iterator[RedisStore]:
    with opened(f"redis+cluster://127.0.0.1:{nodes[0].port}?namespace={own}") as one:
        yield one


@pytest.mark.parametrize("first", ["own", "others"])
def test_while_keys_are_on_two_nodes_nothing_is_done(
    nodes: list[Server], store: RedisStore, own: str, first: str
) -> None:
    """Each node would take the keys that are on the other for ones that do not exist."""
    store.post(jobs(3))
    row = claim_one(store)
    move = Move(nodes, f"{{{own}}}")
    move.begin()
    keys = move.keys()
    mine = [key for key in keys if key == f"{{{own}}}".encode()]
    portion = mine if first == "own" else [key for key in keys if key not in mine]
    move.carry(portion)
    for act in (lambda: store.post(jobs(1, "k")), lambda: claim(store), lambda: finish(store, row)):
        with pytest.raises(StoreUnavailable, match="try again soon"):
            act()
    move.carry([key for key in keys if key not in portion])
    move.end()
    wait_until(lambda: _works(store))
    assert finish(store, row)
    assert [row.job.id for row in claim(store)] == ["j0001", "j0002"]


def _works(store: RedisStore) -> bool:
    try:
        return store.limits() == {}
    except StoreUnavailable:
        return False


def test_a_moved_slot_is_followed(nodes: list[Server], store: RedisStore, own: str) -> None:
    store.post(jobs(2))
    move = Move(nodes, f"{{{own}}}")
    move.begin()
    move.carry(move.keys())
    move.end()
    assert [row.job.id for row in claim(store)] == ["j0000", "j0001"]


def test_a_failover_is_followed(
    nodes: list[Server], store: RedisStore, own: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing that was replicated is lost, and listeners go on hearing."""
    store.post(jobs(2))
    row = claim_one(store)
    listener = store.listen(frozenset(["ready"]))
    with client(nodes[0]) as primary, client(start_replica(nodes, tmp_path)) as replica:
        replica.execute_command("CLUSTER REPLICATE", _id(Move(nodes[:2], f"{{{own}}}").source))
        wait_until(lambda: replica.info("replication").get("master_link_status") == "up")
        wait_until(lambda: _agrees(replica))
        replica.execute_command("CLUSTER FAILOVER")
        wait_until(lambda: replica.info("replication")["role"] == "master")
        wait_until(lambda: _works(store))
        assert finish(store, row)
        assert [row.job.id for row in claim(store)] == ["j0001"]
        while listener.wait(0.05):
            pass
        store.post(jobs(1, "k"))
        assert listener.wait(20) == {"ready"}
        assert primary.ping()


def start_replica(nodes: list[Server], folder: Path) -> Server:
    """One more node, which has no slots yet."""
    one = start(node(folder / "replica"))
    nodes.append(one)
    with client(nodes[0]) as asked, client(one) as new:
        bus = new.config_get("cluster-port")["cluster-port"]
        asked.execute_command("CLUSTER MEET", "127.0.0.1", one.port, bus)
        wait_until(lambda: _agrees(new))
    return one


def _agrees(asked: Redis) -> bool:
    """Whether the node knows the others and finds that all is well."""
    told = asked.execute_command("CLUSTER INFO")
    return (str(told["cluster_state"]), str(told["cluster_known_nodes"])) == ("ok", "3")
