"""A connection as the verbs see it: statements and plain values in, plain tuples out.

It runs on the driver's own cursor; ``core`` is SQLAlchemy's view of the same connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine, Select

from ostinato_sql.dialect import Dialect
from ostinato_sql.statement import Keyed, Statement, text_of

Values = tuple[Any, ...]


class Link:
    """Used by one thread at a time. All answers are fetched at once: a half read one would keep
    the moment that it shows from being forgotten."""

    def __init__(self, dialect: Dialect, engine: Engine) -> None:
        self.writing = False
        """Whether a transaction that writes is under way."""
        self._at_commit: list[Callable[[], None]] = []
        self.core = engine.connect()
        driver: Any = self.core.connection.driver_connection
        self.cursor: Any = driver.cursor()
        self._driver = driver
        self._dialect = dialect

    def all(self, statement: Statement, *values: object) -> list[Values]:
        self.cursor.execute(statement.text(self._dialect), values)
        return list(self.cursor.fetchall())

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
        return self._dialect.run_many(self.cursor, statement.text(self._dialect), rows) if rows else 0

    def all_of(self, statement: Statement, rows: Sequence[Values]) -> list[list[Values]]:
        """What a query finds for each row of values."""
        return self._dialect.all_of(self.cursor, statement.text(self._dialect), rows) if rows else []

    def run_among(self, keyed: Keyed, keys: Iterable[Any], *values: object) -> None:
        for statement, some in keyed.portions(keys):
            self.run(statement, *values, *some)

    def composed(self, statement: Select[Any]) -> list[Values]:
        """What a query finds that is not worth to be remembered."""
        text, values = text_of(statement, self._dialect)
        self.cursor.execute(text, values)
        return list(self.cursor.fetchall())

    def commit(self) -> None:
        self._driver.commit()
        self.writing = False
        done, self._at_commit = self._at_commit, []
        for act in done:
            act()

    def undo(self) -> bool:
        """End the transaction as if it had not been; False if that cannot be done."""
        self.writing, self._at_commit = False, []
        try:
            self._driver.rollback()
        except Exception:
            return False
        return True

    def keep(self, act: Callable[[], None]) -> None:
        """Remember what was read or written, as soon as it is committed."""
        if self.writing:
            self._at_commit.append(act)
        else:
            act()

    def usable(self) -> bool:
        return self._dialect.usable(self._driver)

    def close(self) -> None:
        """Whatever was begun and not committed is undone; the driver may have failed before."""
        with suppress(Exception):
            self.cursor.close()
        with suppress(Exception):
            self.core.invalidate()
        self.core.close()
