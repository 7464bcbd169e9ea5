"""The tasks of the proofs. In this process or in others."""

from __future__ import annotations

import os
import threading

from ostinato import Backoff, current_job, task
from ostinato.testing.witnesses import effect


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


@task(runner="thread", max_attempts=3, backoff=Backoff(first=0.05))
def effective(ledger: str, number: int) -> int:
    """Leaves its effects; every third fails at first, every third posts another."""
    with effect(ledger):
        if number % 3 == 1 and current_job().attempt == 1:
            raise ValueError("not at the first attempt")
        if number % 3 == 2:
            current_job().post(effective.job(ledger, 0))
        return number


@task(runner="thread")
def go_on() -> None:
    """Until it is interrupted."""
    never = threading.Event()
    while True:
        never.wait(0.01)
