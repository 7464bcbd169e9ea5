"""What differs from database to database: one file each answers these questions, and no other
file asks which database it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, Insert, Table
from sqlalchemy import Dialect as Core

from ostinato.errors import StoreError
from ostinato.model import Channel
from ostinato.storage import Listener


class Waker(Protocol):
    """Tells listeners, in this and other processes, what was committed."""

    def tell(self, channels: frozenset[Channel]) -> None:
        """Never blocks and never raises: waking is only an accelerator."""

    def listen(self, channels: frozenset[Channel]) -> Listener:
        """A listener that from now on hears these channels."""

    def close(self) -> None:
        """Wake and close all listeners."""


class Linked(Protocol):
    """What a dialect needs of an `ostinato_sql.link.Link`, which is made for a dialect."""

    core: Connection
    cursor: Any

    def all(self, statement: Any, *values: object) -> list[Any]:
        """Run a `Statement` and fetch what it finds."""


class Dialect(Protocol):
    """One database, named in every message by ``place`` (free of secrets). ``core`` compiles for
    it, with parameters by position; ``errors`` are what its driver raises."""

    name: str
    core: Core
    errors: tuple[type[Exception], ...]
    durable: str
    place: str

    def connect(self) -> Engine:
        """Check the place and make the engine, whose connections begin no transaction by themselves and
        are not pooled; raises the errors of `Store.open`."""

    def clock(self) -> int:
        """Microseconds, by the clock that all executors of this store share."""

    def begin(self, link: Linked, lasting: bool) -> None:
        """Begin a transaction that writes; wait while others write. ``lasting``: its commit is to
        survive a crash of the machine, if the store's commits do at all."""

    def snapshot(self, link: Linked) -> None:
        """Begin a transaction in which all reads see the same moment."""

    def reserve(self, link: Linked, count: int) -> int:
        """The first of ``count`` consecutive ``jobs.seq``, higher than all before."""

    def insert_new(self, table: Table) -> Insert:
        """An insert that leaves a row whose key is there already as it is."""

    def insert_or_replace(self, table: Table) -> Insert:
        """An insert that replaces the values of a row whose key is there already."""

    def translate(self, error: BaseException) -> StoreError:
        """What the driver's error means, and what to do about it."""

    def waker(self, engine: Engine, writes: Callable[[], int]) -> Waker:
        """Made once a store, when it is opened."""


def values_of(table: Table, statement: Any) -> dict[str, Any]:
    """What an insert replaces: all but the key, by the new row's values (``excluded``)."""
    return {column.name: statement.excluded[column.name] for column in table.c if not column.primary_key}
