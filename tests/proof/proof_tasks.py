"""The tasks of the proofs. In this process or in others."""

from __future__ import annotations

import os

from ostinato import current_job, task


@task(runner="thread")
def note(ledger: str, text: str, aloud: bool = False) -> None:
    """Append a line to a file."""
    if aloud:
        print(text)
    fd = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, f"{text}\n".encode())
    os.close(fd)


@task(runner="thread")
def follow(ledger: str) -> None:
    """Post another job, and append a line."""
    note.function(ledger, "first", aloud=True)
    current_job().post(note.job(ledger, "followed"), tags=["follow-up"])


@task(runner="thread")
def wait_for(gate: str) -> str:
    """Until somebody writes into this FIFO."""
    with open(gate) as file:
        file.read()
    return "opened"
