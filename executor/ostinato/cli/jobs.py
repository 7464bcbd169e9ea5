"""``ostinato jobs``: a list of jobs, newest first."""

from __future__ import annotations

from typing import get_args

import click

from ostinato.cli.opening import opened_store, store_options
from ostinato.cli.remarks import remark
from ostinato.cli.terminal import ago, coloured, plain, print_json, print_table, seconds
from ostinato.model import Attempt, State
from ostinato.status import JobStatus, job_status
from ostinato.storage import JobQuery, Store

PAGE = 200
WIDTH = 120


@click.command()
@click.option("--state", "states", multiple=True, type=click.Choice(get_args(State)), help="Only these states.")
@click.option("--task", "tasks", multiple=True, help="Only these tasks.")
@click.option("--queue", "queues", multiple=True, help="Only these queues.")
@click.option("--tag", help="Only jobs with this tag.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="At most so many.")
@store_options
def command(
    states: tuple[State, ...],
    tasks: tuple[str, ...],
    queues: tuple[str, ...],
    tag: str | None,
    limit: int,
    url: str | None,
    as_json: bool,
) -> None:
    """List jobs, newest first."""
    with opened_store(url) as store:
        found = _find(store, JobQuery(states=states, tasks=tasks, queues=queues, tag=tag), limit)
    if as_json:
        print_json(found)
    elif not found:
        click.echo("No such jobs.", err=True)
    else:
        print_table(
            ("ID", "STATE", "TASK", "QUEUE", "TRY", "POSTED", "TOOK", ""), map(_row, found), right=("TRY", "TOOK")
        )


def _find(store: Store, query: JobQuery, limit: int) -> list[JobStatus]:
    from msgspec.structs import replace

    now = store.now()
    found: list[JobStatus] = []
    while len(found) < limit:
        page = store.find(replace(query, limit=min(PAGE, limit - len(found))))
        ended: dict[str, list[Attempt]] = {}
        for one in store.attempts([row.job.id for row in page.rows]):
            ended.setdefault(one.job_id, []).append(one)
        found += [job_status(row, ended.get(row.job.id, []), now) for row in page.rows]
        if page.next is None:
            break
        query = replace(query, cursor=page.next)
    return found


def _row(job: JobStatus) -> tuple[str, ...]:
    took = (job.ended_at - job.started_at).total_seconds() if job.ended_at and job.started_at else None
    return (
        job.id,
        coloured(job.state),
        plain(job.task),
        plain(job.queue),
        str(job.attempt or ""),
        ago(job.posted_at),
        "" if took is None else seconds(took),
        plain(remark(job)[:WIDTH]),
    )
