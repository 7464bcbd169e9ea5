"""What the store keeps of the steps of a flow: read and written for its attempts."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from ostinato.errors import StoreUnavailable
from ostinato.model import Row, Step
from ostinato.storage import JobQuery, Note, Store

PAGE = 5000
BYTES = 16 * 2**20
"""As much of results is read at once, and travels to a flow's process in one piece."""


class Records:
    """For the attempts of one executor."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def write(self, row: Row, name: str, value: str) -> None:
        """Record the value of a step. Raises StoreUnavailable if it is not recorded."""
        (recorded,) = self._store.note([Note(row.job.id, row.token, row.attempt, "step", value, name)])
        if not recorded:
            raise StoreUnavailable(f"Step {name!r} is not recorded: another executor has the job by now.")

    def read(self, row: Row, ids: Sequence[str] | None, cursor: str | None) -> tuple[list[Step], str | None]:
        """A page of the steps of the job, or of the jobs named, and the cursor for the rest."""
        if ids is None:
            query = JobQuery(flow=row.job.id, oldest_first=True, limit=PAGE, cursor=cursor, brief=True)
        else:
            query = JobQuery(ids=tuple(ids), limit=len(ids), brief=True)
        page = self._store.find(query)
        if ids is None and (some := _first(page.rows)) < len(page.rows):
            page = self._store.find(replace(query, limit=some))
        return [_step(one, row.job.id) for one in page.rows], page.next


def _first(found: Sequence[Row]) -> int:
    """How many of the first of them have no more than `BYTES`; one at least."""
    size = 0
    for at, row in enumerate(found):
        size += len(row.result or "")
        if size > BYTES:
            return max(at, 1)
    return len(found)


def _step(row: Row, flow: str) -> Step:
    job = row.job
    return Step(
        id=job.id,
        name=job.step if job.flow == flow else "",
        task=job.task,
        state=row.state,
        result=row.result,
        error=row.error,
        reason=row.reason,
        attempt=row.attempt,
    )
