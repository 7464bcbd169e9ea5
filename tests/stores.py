"""The stores that the proofs run on: each by name, where it is, and how to restart its server hard.

A further store is one more line in `STORES`; and one in `EMPTY`, for tests that need a store and nothing else of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import mariadb_servers
import msgspec
import postgres_servers
import pytest
from msgspec import Struct
from postgres_servers import FAST, new_server
from redis_servers import new_namespace, redis_program, server, start, valkey_program


class Place(Struct, frozen=True):
    """Where a store is. ``{name}`` in ``url`` stands for a word that keeps its data from others', of
    lower case letters and digits; ``port`` is where its server listens on this machine, ``stop`` kills
    the server and ``start`` starts it again on the same data: none of them if there is no server."""

    url: str
    port: int = 0
    stop: Callable[[], None] | None = None
    start: Callable[[], None] | None = None

    def named(self, name: str) -> str:
        return self.url.replace("{name}", name)

    def through(self, port: int) -> Place:
        """The same, by way of another port."""
        return Place(self.url.replace(f":{self.port}/", f":{port}/"), port, self.stop, self.start)


@contextmanager
def sqlite(folder: Path) -> Iterator[Place]:
    yield Place(f"sqlite:///{folder}/{{name}}.db")


@contextmanager
def postgres(folder: Path) -> Iterator[Place]:
    one = new_server("18", FAST)  # what is not synced survives the death of a server all the same
    yield Place(f"{one.url}?prefix={{name}}_", one.port, one.stop, one.start)
    one.remove()


def redis_like(program: Callable[[], str]) -> Callable[[Path], Iterator[Place]]:
    def place(folder: Path) -> Iterator[Place]:
        one = start(server(program(), folder / "data", "--save", "", "--appendonly", "yes", "--appendfsync", "always"))
        url = f"redis://127.0.0.1:{one.port}/0?namespace={{name}}"
        yield Place(url, one.port, one.stop, lambda: start(one) and None)
        one.stop()

    return place


@contextmanager
def mariadb(folder: Path) -> Iterator[Place]:
    one = mariadb_servers.new_server()

    def start() -> None:
        if one._process is None:
            one.start()
        with mariadb_servers.connected(one.url) as connection, connection.cursor() as cursor:
            cursor.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2")  # a killed server loses nothing

    start()
    yield Place(f"{one.url}?prefix={{name}}_", one.port, one.stop, start)
    one.remove()


STORES = {
    "sqlite": sqlite,
    "postgres": postgres,
    "mariadb": mariadb,
    "valkey": contextmanager(redis_like(valkey_program)),
    "redis": contextmanager(redis_like(redis_program)),
}
"""By name: makes the place, and takes it away again."""
SERVERS = [name for name in STORES if name != "sqlite"]


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The store that is named by the test's parameters, for all tests that come one after another."""
    with STORES[request.param](tmp_path_factory.mktemp(request.param)) as made:
        yield made


@pytest.fixture
def place(site: Place) -> Place:
    """The same, but with nothing there that another test has left, or this one at its first try."""
    return msgspec.structs.replace(site, url=site.named(f"t{uuid4().hex[:8]}{{name}}"))


def on_every_store(*names: str) -> pytest.MarkDecorator:
    """Run a test on all stores, or on these."""
    return pytest.mark.parametrize("site", names or list(STORES), indirect=True)


NewUrl = Callable[[], str]
EMPTY: dict[str, Callable[[str], str]] = {
    "memory": lambda folder: f"memory://{new_namespace()}",
    "sqlite": lambda folder: f"sqlite:///{folder}/{new_namespace()}.db",
    "postgres18": postgres_servers.emptied,
    "mariadb": mariadb_servers.emptied,
    "valkey": lambda server: f"{server}?namespace={new_namespace()}",
    "real_redis": lambda server: f"{server}?namespace={new_namespace()}",
    "valkey_cluster": lambda server: f"{server}?namespace={new_namespace()}",
}
"""By name, which is that of the fixture of its server: the URL of a store there that holds nothing."""


def empties(request: pytest.FixtureRequest, kind: str) -> NewUrl:
    """Tells at every call where an empty store of this kind is. Ask for it once the one before is closed: a
    database may have been emptied for it."""
    if kind in ("memory", "sqlite"):
        server = str(request.getfixturevalue("tmp_path_factory").mktemp(kind))
    else:
        server = request.getfixturevalue(kind)
    return lambda: EMPTY[kind](server)


@pytest.fixture
def new_url(request: pytest.FixtureRequest) -> NewUrl:
    """Of the kind that the test's parameter names."""
    return empties(request, request.param)


def on_empty_stores(*names: str) -> pytest.MarkDecorator:
    """Run a test on empty stores of every kind, or of these: it takes `new_url`."""
    return pytest.mark.parametrize("new_url", names or list(EMPTY), indirect=True)
