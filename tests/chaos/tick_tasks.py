"""What the schedule posts every second."""

from ostinato import current_job, task


@task(queue="ticks", runner="thread")
def heard(ledger: str) -> None:
    """One line: which tick it was, of which job."""
    job = current_job()
    assert job.tick is not None
    with open(ledger, "a", encoding="utf-8") as file:
        file.write(f"{job.tick.timestamp():.0f} {job.id}\n")
