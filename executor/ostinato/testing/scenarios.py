"""What is played while a store is ill-treated: each scenario posts some jobs and waits until all has ended.

Played again on what a dead one has left, it brings that to its end too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from msgspec.json import decode

from ostinato import Backoff, TaskExecutor, current_job, flow, task
from ostinato.plugins import open_store
from ostinato.search import rows
from ostinato.storage import Ask, JobQuery, Store
from ostinato.testing.witnesses import Client, effect

PATIENCE = 20.0
"""Seconds that a scenario may take to become idle."""


@task(name="crashes.plain", runner="thread")
def plain(ledger: str) -> str:
    """Returns what no other attempt does."""
    with effect(ledger):
        return uuid4().hex


@task(name="crashes.flaky", runner="thread", max_attempts=3, backoff=Backoff(first=0.01, jitter=0.0))
def flaky(ledger: str) -> int:
    """Fails at its first attempt."""
    with effect(ledger):
        if current_job().attempt == 1:
            raise ValueError("not at the first attempt")
        return current_job().attempt


@task(name="crashes.parent", runner="thread")
def parent(ledger: str) -> None:
    with effect(ledger):
        current_job().post(plain.job(ledger))


@task(name="crashes.flow", runner="thread", flow=True)
async def fan_out(ledger: str) -> dict[str, Any]:
    """Three steps at once, a local one, an event, and two steps more."""
    with effect(ledger):
        local = flow.step("local", lambda: uuid4().hex)
        first = await flow.gather(plain.job(ledger), flaky.job(ledger), plain.job(ledger))
        told = await flow.event("crashes.go")
        then = await flow.gather(plain.job(ledger), plain.job(ledger))
        return {"local": local, "first": first, "told": told, "then": then}


def jobs(executor: TaskExecutor, client: Client, url: str, ledger: str) -> None:
    """Three jobs, of which one fails once and one posts another, and a fourth that is cancelled."""
    client.post([plain.job(ledger), flaky.job(ledger), parent.job(ledger)])
    client.post([plain.job(ledger)], delay=3600, tags=("unwanted",))
    cancel_unwanted(url, client)
    until_done(executor)


def cancel_unwanted(url: str, client: Client) -> None:
    """That of this scenario, and that of one that was killed before it came to this."""
    store = open_store(url)
    store.open()
    for row in store.find(JobQuery(tag="unwanted", states=("scheduled",))).rows:
        client.change(store, [row.job.id], Ask(kind="cancel", reason="unwanted"))
    store.close()


def flows(executor: TaskExecutor, client: Client, url: str, ledger: str) -> None:
    """A flow, whose event is given when its first step has ended. Raises AssertionError if one of them
    used anything but what is recorded of its steps."""
    begun = threading.Event()
    executor.on("success", lambda event: begun.set() if event.task == plain.name else None)
    client.post([fan_out.job(ledger)])
    begun.wait(PATIENCE)
    executor.signal("crashes.go", payload="go")
    until_done(executor)
    store = open_store(url)
    store.open()
    for row in rows(store, JobQuery(tasks=(fan_out.name,))):
        assert row.state == "succeeded", f"{row.state}: {row.reason}"
        assert decode(row.result or "") == recorded(store, row.job.id, row.steps), row
    store.close()


def recorded(store: Store, flow_id: str, steps: Mapping[str, str]) -> dict[str, Any]:
    """What the flow must return, by what the store keeps of its steps: these, and no others."""
    of = {row.job.step: decode(row.result or "null") for row in rows(store, JobQuery(flow=flow_id))}
    plains = [of.pop(f"{plain.name}#{number}") for number in (1, 2, 3, 4)]
    first = [plains[0], of.pop(f"{flaky.name}#1"), plains[1]]
    assert not of, of
    return {"local": decode(steps["local"]), "first": first, "told": "go", "then": plains[2:]}


def until_done(executor: TaskExecutor) -> None:
    """Until nothing is left to do, now or soon."""
    if not executor.wait(PATIENCE):
        raise TimeoutError("the scenario does not end")
    for state in ("blocked", "scheduled", "ready", "running"):
        for job in executor.jobs(state=state):
            if not job.wait(PATIENCE if job.status().run_at is not None or state == "blocked" else 0):
                raise TimeoutError(f"job {job.id} does not end: {job.status()}")


Scenario = Callable[[TaskExecutor, Client, str, str], None]
SCENARIOS: Mapping[str, Scenario] = {"jobs": jobs, "flows": flows}
"""By name. Given a started executor, who posts, the URL of the store, and where attempts note their effects."""
