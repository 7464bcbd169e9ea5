"""Run an ended job again; of a flow that did not succeed, what it failed of first."""

from __future__ import annotations

from msgspec.json import decode

from ostinato.model import FINAL, SURVIVED, WAITING, Row
from ostinato.search import rows
from ostinato.storage import Ask, Changed, JobQuery, Store

RERUN = Ask(kind="rerun")
PAGE = 1000


def rerun(store: Store, row: Row) -> Changed:
    """Run it again. The steps of a flow that did not succeed are run again too, before itself: else it would fail
    the same way, since it is answered from its record. Not those that succeeded, nor those without whose success it
    went on once: it would no longer fit its record."""
    if row.state in FINAL and row.state != "succeeded" and row.job.kind not in WAITING and row.attempt > 0:
        survived = {
            job_id for name, value in row.steps.items() if name.startswith(SURVIVED) for job_id in decode(value)
        }
        query = JobQuery(flow=row.job.id, states=("failed", "cancelled", "expired"), oldest_first=True, limit=PAGE)
        for step in list(rows(store, query)):
            if step.job.id not in survived:
                rerun(store, step)
    (changed,) = store.change([row.job.id], RERUN)
    return changed
