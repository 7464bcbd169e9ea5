"""The connections to a Redis, alone or a cluster, and the one way in which scripts are run there.

Nothing is sent twice by itself: a claim whose answer was lost would take further jobs. Every error
of the driver leaves here translated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import MovedError, NoScriptError, RedisError
from redis.retry import Retry

from ostinato.errors import StoreError, StoreUnavailable
from ostinato_redis.address import Address
from ostinato_redis.fault import translate
from ostinato_redis.keys import never_key
from ostinato_redis.script import Script

_CONNECT = 5.0  # seconds


class DataLost(StoreError):
    """The data that this process knew is not there any more; see `RedisStore`."""


class Server:
    def __init__(self, address: Address) -> None:
        self.address = address
        self._client: Any = None

    def connect(self) -> None:
        with self._translated():
            if self._client is None:
                self._client = self._connected()

    def _connected(self) -> Any:
        where = self.address
        options: dict[str, Any] = {
            "username": where.username,
            "password": where.password,
            "protocol": 2,
            "socket_timeout": where.timeout,
            "socket_connect_timeout": min(_CONNECT, where.timeout),
            "retry": Retry(NoBackoff(), 0),
        }
        if where.tls:
            options.update(where.certificates, ssl=True)
        if where.cluster:
            nodes = [ClusterNode(*node) for node in where.nodes]  # type: ignore[no-untyped-call]
            return RedisCluster(startup_nodes=nodes, **options)
        if where.socket is not None:
            client = Redis(unix_socket_path=where.socket, db=where.db, **options)
        else:
            ((host, port),) = where.nodes
            client = Redis(host, port, db=where.db, socket_keepalive=True, **options)
        client.ping()
        return client

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    @property
    def client(self) -> Any:
        client = self._client
        if client is None:
            raise StoreUnavailable(f"The store at {self.address.place} is not open. Call open() before any other verb.")
        return client

    def run(self, script: Script, arguments: Sequence[str | bytes], lasting: bool = False) -> bytes:
        """What the script answers. ``lasting``: it must survive whatever the URL asks for."""
        with self._translated():
            run = self._run_synced if lasting and self.address.aof else self._run
            rest = (2, self.address.own, never_key(self.address.own), *arguments)
            answer: bytes = run(("EVALSHA", script.digest, *rest))
            return answer if answer is not None else run(("EVAL", script.text, *rest))

    def _run(self, command: tuple[Any, ...]) -> Any:
        """None if the server does not know the script (it was restarted, say): then it has done nothing."""
        try:
            return self.client.execute_command(*command)
        except NoScriptError:
            return None

    def _run_synced(self, command: tuple[Any, ...]) -> Any:
        """The same, and on disk. A write of our own goes along: the call may be a repetition that has nothing
        more to write, and what it repeats may not be on disk yet."""
        limit = int(self.address.timeout * 500)  # milliseconds: half of ours, so that we hear that it was too long
        for _ in range(3):
            pipeline = self._node().pipeline(transaction=False)
            pipeline.execute_command(*command)
            pipeline.execute_command("HINCRBY", self.address.own, "synced", 1)
            pipeline.execute_command("WAITAOF", 1, 0, limit)
            answer, _, synced = pipeline.execute(raise_on_error=False)
            if isinstance(answer, NoScriptError):
                return None
            if not isinstance(answer, MovedError):
                break
            self.client.nodes_manager.initialize()
        for one in (answer, synced):
            if isinstance(one, Exception):
                raise one
        if not synced[0]:
            raise StoreUnavailable(
                f"{self.address.place} has stored it, but not yet on disk after {limit / 1000:g} s (durability=aof). "
                "It is safe to ask again. Check the disk of the server, or raise ?timeout=."
            )
        return answer

    def _node(self) -> Any:
        """A client of the one server that has our keys."""
        client = self.client
        if not self.address.cluster:
            return client
        return client.get_redis_connection(client.get_node_from_key(self.address.own))

    def ask(self, *command: str | int) -> Any:
        """A plain command about the server that has our keys."""
        with self._translated():
            return self._node().execute_command(*command)

    def ask_key(self, *command: str | int) -> Any:
        """A plain command on one of our keys."""
        with self._translated():
            return self.client.execute_command(*command)

    def connection(self) -> Any:
        """A connection of its own, outside of the pool, not connected yet. Its errors are the driver's."""
        with self._translated():
            return self._node().connection_pool.make_connection()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            where = self.address
            if "LOST the data" in str(error):
                raise DataLost(str(error)) from None
            if isinstance(error, StoreError):
                raise
            raise translate(error, where.place, where.own, where.password) from error
