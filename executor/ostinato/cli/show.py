"""``ostinato show``: everything that is known of one job."""

from __future__ import annotations

import click
import msgspec

from ostinato.cli.opening import find_job, opened, store_options
from ostinato.cli.remarks import asked
from ostinato.cli.terminal import coloured, console, local, plain, print_json, print_table, seconds, shortened, size
from ostinato.handle import JobHandle
from ostinato.status import AttemptStatus, JobStatus


@click.command()
@click.argument("job_id", metavar="ID")
@store_options
def command(job_id: str, url: str | None, as_json: bool) -> None:
    """Show all about one job.

    Its arguments, times and attempts, its result or error."""
    with opened(url) as executor:
        job = find_job(executor, job_id)
        status = job.status()
        result = _result(job, status)
    if as_json:
        print_json({**msgspec.structs.asdict(status), "result": result})
        return
    for name, value in _facts(status, result):
        if value:
            console().print(f"[bold]{name:<10}[/] {value}")
    if status.attempts:
        click.echo()
        head = ("ATTEMPT", "OUTCOME", "STARTED", "TOOK", "CPU", "MEMORY", "EXECUTOR", "REASON")
        print_table(head, map(_row, status.attempts), right=("TOOK", "CPU", "MEMORY"))
    if status.error:
        click.echo(f"\n{status.error.rstrip()}")


def _result(job: JobHandle, status: JobStatus) -> object:
    return job.result() if status.state == "succeeded" else None


def _facts(job: JobStatus, result: object) -> list[tuple[str, str]]:
    progress = job.progress
    return [
        ("job", job.id),
        ("task", plain(job.task)),
        ("state", coloured(job.state) + (f"  {plain(job.reason)}" if job.reason else "")),
        ("cancelling", "somebody asked to cancel it" if job.cancelling else ""),
        ("arguments", plain(msgspec.json.encode(job.args).decode())),
        ("queue", f"{plain(job.queue)}, priority {job.priority}"),
        ("tags", plain(", ".join(job.tags))),
        ("schedule", f"{plain(job.schedule)}, tick {local(job.tick)}" if job.schedule else ""),
        ("posted by", job.parent or ""),
        ("step", f"{plain(job.step)} of flow {job.flow}" if job.flow else ""),
        ("waits for", shortened(job.after)),
        ("asks", plain(asked(job)) if job.question else ""),
        ("answer", plain(msgspec.json.encode(job.question.schema).decode()) if job.question else ""),
        ("posted", local(job.posted_at)),
        ("due", local(job.run_at) if job.state == "scheduled" else ""),
        ("deadline", local(job.deadline) + ("  missed" if job.missed else "") if job.deadline else ""),
        ("started", local(job.started_at)),
        ("ended", local(job.ended_at)),
        ("progress", f"{progress.done:g} of {progress.total or '?'} {plain(progress.message)}" if progress else ""),
        ("result", plain(msgspec.json.encode(result, enc_hook=str).decode()) if result is not None else ""),
    ]


def _row(one: AttemptStatus) -> tuple[str, ...]:
    return (
        str(one.number),
        one.outcome,
        local(one.started_at),
        seconds((one.ended_at - one.started_at).total_seconds()),
        "" if one.cpu is None else seconds(one.cpu),
        size(one.peak_memory),
        one.executor_id,
        plain(one.reason.partition("\n")[0]),
    )
