"""What the store keeps of the steps of a flow: read and written for its attempts."""

from __future__ import annotations

from collections.abc import Sequence

from ostinato.errors import StoreUnavailable
from ostinato.model import Row, Step
from ostinato.storage import JobQuery, Note, Store

PAGE = 1000


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
        return [_step(one, row.job.id) for one in page.rows], page.next


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
