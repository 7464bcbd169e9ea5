"""Jobs by what they are, page after page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from msgspec.structs import replace

from ostinato.errors import ConfigError
from ostinato.model import Row, State
from ostinato.names import suggest
from ostinato.storage import JobQuery, Store

STATES = get_args(State)


def query_of(
    *,
    state: State | Sequence[State] | None = None,
    task: str | Sequence[str] | None = None,
    queue: str | Sequence[str] | None = None,
    tag: str | None = None,
) -> JobQuery:
    """What finds the jobs that are all of this. Raises ConfigError for a state that there is not."""
    states = _several(state)
    for one in states:
        if one not in STATES:
            raise ConfigError(f"There is no state {one!r}. {suggest(str(one), STATES)}")
    return JobQuery(states=states, tasks=_several(task), queues=_several(queue), tag=tag)


def _several(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def rows(store: Store, query: JobQuery, limit: int | None = None) -> Iterator[Row]:
    """All that the query finds, at most ``limit``; a page is read when it is reached."""
    left = limit
    while left is None or left > 0:
        page = store.find(query if left is None else replace(query, limit=min(left, query.limit)))
        yield from page.rows
        if left is not None:
            left -= len(page.rows)
        if page.next is None:
            return
        query = replace(query, cursor=page.next)
