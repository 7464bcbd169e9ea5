"""A connection as the verbs see it: statements and plain values in, plain tuples out.

It runs on the driver's own cursor. The few statements that are composed anew at each call go
through ``core``, SQLAlchemy's view of the same connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine

from ostinato_sql.dialect import Dialect
from ostinato_sql.statement import Keyed, Statement

Values = tuple[Any, ...]


class Link:
    """Used by one thread at a time. All answers are fetched at once: a half read one would keep
    the moment that it shows from being forgotten."""

    def __init__(self, dialect: Dialect, engine: Engine) -> None:
        self.core = engine.connect()
        driver: Any = self.core.connection.driver_connection
        self.cursor: Any = driver.cursor()
        self._driver = driver
        self._dialect = dialect

    def all(self, statement: Statement, *values: object) -> list[Values]:
        self.cursor.execute(statement.text(self._dialect), values)
        found: list[Values] = self.cursor.fetchall()
        return found

    def first(self, statement: Statement, *values: object) -> Values | None:
        found = self.all(statement, *values)
        return found[0] if found else None

    def among(self, keyed: Keyed, keys: Iterable[Any], *values: object) -> list[Values]:
        """What a query finds for any of the keys."""
        found: list[Values] = []
        for statement, some in keyed.portions(keys):
            found += self.all(statement, *values, *some)
        return found

    def run(self, statement: Statement, *values: object) -> int:
        """The number of rows that were changed."""
        self.cursor.execute(statement.text(self._dialect), values)
        return int(self.cursor.rowcount)

    def run_many(self, statement: Statement, rows: Sequence[Values]) -> int:
        if not rows:
            return 0
        self.cursor.executemany(statement.text(self._dialect), rows)
        return int(self.cursor.rowcount)

    def run_among(self, keyed: Keyed, keys: Iterable[Any], *values: object) -> None:
        for statement, some in keyed.portions(keys):
            self.run(statement, *values, *some)

    def commit(self) -> None:
        self._driver.commit()

    def close(self) -> None:
        """Whatever was begun and not committed is undone; the driver may have failed before."""
        with suppress(Exception):
            self.cursor.close()
        with suppress(Exception):
            self.core.invalidate()
        self.core.close()
