"""Statements, written in Core and compiled once a dialect into the text that its driver takes.

Core's own way to run one costs more than SQLite needs for it; see `ostinato_sql.link`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import BindParameter, Executable, Insert, Select, bindparam, literal_column
from sqlalchemy.sql.elements import ClauseElement

from ostinato_sql.dialect import Dialect
from ostinato_sql.naming import Naming

_LENGTHS = (1, 8, 64, 512)  # of lists of keys; the last well below every database's limit


class Statement:
    """``names`` are the bound parameters in the order of a call's values. What databases write
    each in their way is given as a function of the dialect."""

    def __init__(self, written: Executable | Callable[[Dialect], Executable], *names: str) -> None:
        self._written: Any = written
        self._names = names
        self._texts: dict[tuple[str, Naming], str] = {}

    def text(self, dialect: Dialect) -> str:
        return self._texts.get((dialect.name, dialect.naming)) or self._compile(dialect)

    def _compile(self, dialect: Dialect) -> str:
        written = self._written if isinstance(self._written, ClauseElement) else self._written(dialect)
        columns = list(self._names) if isinstance(written, Insert) else None
        compiled: Any = written.compile(dialect=dialect.core, column_keys=columns)
        if tuple(compiled.positiontup or ()) != self._names:
            raise TypeError(f"{compiled} takes {compiled.positiontup}, not {self._names}")
        text = self._texts[dialect.name, dialect.naming] = dialect.naming.apply(str(compiled))
        return text


def text_of(chosen: Select[Any], dialect: Dialect) -> tuple[str, Sequence[Any]]:
    """A query that is used once, with its values, as the driver takes them."""
    compiled: Any = chosen.compile(dialect=dialect.core)
    expanded = compiled.construct_expanded_state()
    return dialect.naming.apply(expanded.statement), expanded.positional_parameters


def at_most(count: int, chosen: Select[Any]) -> Select[Any]:
    """With a limit that is part of the text. An offset that is not given would be a parameter."""
    return chosen.limit(literal_column(str(count))).offset(literal_column("0"))


class Keyed:
    """A statement over any number of keys, which follow the parameters called ``names``.

    It is compiled for a few lengths of the list: a shorter one is filled up with its last key,
    so that databases see few different texts and keep them prepared.
    """

    def __init__(self, write: Callable[[list[BindParameter[Any]]], Executable], *names: str) -> None:
        self._write = write
        self._names = names
        self._of: dict[int, Statement] = {}

    def portions(self, keys: Iterable[Any]) -> Iterator[tuple[Statement, list[Any]]]:
        rest = list(dict.fromkeys(keys))
        for at in range(0, len(rest), _LENGTHS[-1]):
            some = rest[at : at + _LENGTHS[-1]]
            length = next(length for length in _LENGTHS if length >= len(some))
            yield self._of.get(length) or self._make(length), some + some[-1:] * (length - len(some))

    def _make(self, length: int) -> Statement:
        names = [f"key{n}" for n in range(length)]
        made = self._of[length] = Statement(self._write([bindparam(name) for name in names]), *self._names, *names)
        return made
