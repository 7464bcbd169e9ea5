"""A flow that takes its time."""

import os

from ostinato import flow, task


@task(queue="chaos", flow=True)
async def publish(ledger: str, seconds: float) -> list[object]:
    first = flow.step("begin", note, ledger)
    await flow.sleep(seconds)
    answer = await flow.approve("Publish?", schema=str)
    return [first, answer, os.getppid()]


def note(ledger: str) -> int:
    with open(ledger, "a") as file:
        file.write("begun\n")
    return os.getppid()
