"""The tasks that the chaos tests run, in processes that are killed."""

import hashlib
import os

from ostinato import current_job, task


@task(queue="chaos")
def digest(ledger: str, number: int) -> str:
    """A little work, and one line in the ledger: which attempt was made, and by which process."""
    job = current_job()
    line = f"{job.id} {job.attempt} {os.getpid()}\n".encode()
    fd = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, line)
    os.close(fd)
    data = str(number).encode() * 1000
    for _ in range(300):
        data = hashlib.sha256(data).digest() * 1000
    print("digested", number)
    return hashlib.sha256(data).hexdigest()
