"""What differs from database to database: one file each answers these questions, and no other
file asks which database it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, Engine, Insert, Table
from sqlalchemy import Dialect as Core

from ostinato.errors import StoreError
from ostinato.model import Channel
from ostinato.storage import Listener
from ostinato_sql.naming import Naming


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

    def keep(self, act: Callable[[], None]) -> None:
        """Do it once the transaction is committed."""


class Dialect(Protocol):
    """One database, named in every message by ``place`` (free of secrets). ``core`` compiles for
    it, with parameters by position; ``errors`` are what its driver raises. ``alone``: one
    connection writes at a time, so that the writes of a process had better queue in memory."""

    name: str
    core: Core
    errors: tuple[type[Exception], ...]
    durable: str
    place: str
    naming: Naming
    alone: bool
    migrates: bool
    partial: bool
    """Whether an index can be of some rows only."""
    own_tables: tuple[str, ...]
    """What it needs besides the tables of all: statements that make it."""
    table_end: str
    """Follows the description of a new table."""
    whose: str
    """A query that tells one database from all others."""
    ready_lanes: str
    """The query for all lanes with ready jobs, at a cost that does not grow with the jobs."""
    rising: ColumnElement[int]
    """``promote_at``, as the index of jobs that may rise has it."""
    lapsing: ColumnElement[int]
    """``expires_at``, as the index of waiting jobs whose time may run out has it."""

    def connect(self) -> Engine:
        """Check the place and make the engine, whose connections begin no transaction by themselves and
        are not pooled; raises the errors of `Store.open`."""

    def clock(self) -> int:
        """Microseconds, by the clock that all executors of this store share."""

    def usable(self, driver: Any) -> bool:
        """Whether a connection that was kept still is one, as far as can be told without asking the
        server. Called before each use: the time to compare the clocks, if need be."""

    def begin(self, link: Linked, lasting: bool) -> None:
        """Begin a transaction that writes; wait while others write. ``lasting``: its commit is to
        survive a crash of the machine, if the store's commits do at all."""

    def snapshot(self, link: Linked) -> None:
        """Begin a transaction in which all reads see the same moment."""

    def lock_capacities(self, link: Linked, alone: bool) -> None:
        """Until the end of the transaction: shared by all who claim, ``alone`` by one who changes
        which capacities there are, so that no claim is under way that does not know them."""

    def lock_schema(self, link: Linked) -> None:
        """Until the end of the transaction: nobody else makes or migrates these tables."""

    def before_tables(self) -> list[str]:
        """Statements before the first table is made."""

    def reserve(self, link: Linked, count: int) -> int:
        """The first of ``count`` consecutive ``jobs.seq`` that nobody else gets, higher than all before."""

    def insert_new(self, table: Table) -> Insert:
        """An insert that leaves a row whose key is there already as it is."""

    def insert_or_replace(self, table: Table) -> Insert:
        """An insert that replaces the values of a row whose key is there already."""

    def run_many(self, cursor: Any, text: str, rows: Sequence[tuple[Any, ...]]) -> int:
        """Run a statement for each row of values, in few round trips; how many rows it changed."""

    def all_of(self, cursor: Any, text: str, rows: Sequence[tuple[Any, ...]]) -> list[list[tuple[Any, ...]]]:
        """What a query finds for each row of values, in few round trips."""

    def to_text(self, value: Any) -> Any:
        """A value as this database can hold it; others than text stay as they are."""

    def from_text(self, value: Any) -> Any:
        """The value that was meant."""

    def lost_a_race(self, error: BaseException) -> bool:
        """Whether the transaction was undone in favour of another, and may be tried again."""

    def translate(self, error: BaseException) -> StoreError:
        """What the driver's error means, and what to do about it."""

    def waker(self, engine: Engine, writes: Callable[[], int]) -> Waker:
        """Made once a store, when it is opened."""


# Each step asks the index for the next lane above the last, so that its cost is the number of
# lanes with a ready job; DISTINCT would walk over every one of the jobs.
READY_LANES = """
    WITH RECURSIVE ready(lane) AS (
        SELECT min(lane) FROM ostinato_jobs WHERE state = 'ready'
        UNION ALL
        SELECT (SELECT min(j.lane) FROM ostinato_jobs j WHERE j.state = 'ready' AND j.lane > ready.lane)
        FROM ready WHERE ready.lane IS NOT NULL
    )
    SELECT lane FROM ready WHERE lane IS NOT NULL
"""


def values_of(table: Table, new: Any) -> dict[str, Any]:
    """What an insert replaces: all but the key, by the new row's values."""
    return {column.name: new[column.name] for column in table.c if not column.primary_key}
