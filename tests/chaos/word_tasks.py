"""Words are counted, a job a file, and a flow folds the counts, some files after the others."""

import os
import re
import uuid
from collections import Counter

from ostinato import current_job, flow, task

FILES_AT_ONCE = 40


@task(queue="chaos")
def count(ledger, path):
    """How often each word is in the file, and what no other attempt says."""
    made = uuid.uuid4().hex
    fd = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, f"{current_job().id} {made}\n".encode())
    os.close(fd)
    return {"words": words_of(path), "made": made}


def words_of(path):
    with open(path, errors="replace") as file:
        return Counter(re.findall(r"[a-z]+", file.read().lower()))


@task(queue="chaos", flow=True)
async def total(ledger, paths):
    words, made = Counter(), []
    for at in range(0, len(paths), FILES_AT_ONCE):
        for one in await flow.gather(*(count.job(ledger, path) for path in paths[at : at + FILES_AT_ONCE])):
            words.update(one["words"])
            made.append(one["made"])
    return {"words": words, "made": made}
