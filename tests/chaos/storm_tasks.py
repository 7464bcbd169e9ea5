"""What runs in a storm: every attempt leaves its effects, some fail, some post others, some take longer."""

import threading

from ostinato import Backoff, current_job, task
from ostinato.testing.witnesses import effect

QUICK = Backoff(first=0.05, limit=0.2)


@task(queue="storm", max_attempts=3, backoff=QUICK)
def work(ledger: str, number: int) -> int:
    with effect(ledger) as goes_on:
        print("working on", number)
        if number % 7 == 3 and current_job().attempt == 1:
            raise ValueError("not at the first attempt")
        if number % 7 == 4:
            current_job().post(work.job(ledger, 0), tags=["follow-up"])
        never = threading.Event()
        for _ in range(20 if number % 7 == 5 else 2):
            never.wait(0.01)
            goes_on()
        return number
