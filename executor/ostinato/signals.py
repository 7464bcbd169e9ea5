"""Signals: a job that nobody runs stands for each name and key, whoever speaks of it first.

Who waits for the signal comes after that job, who gives it answers it: so it does not matter which of the
two came first, and a second answer changes nothing.
"""

from __future__ import annotations

import msgspec

from ostinato.ids import derived_id
from ostinato.model import SIGNAL, Job


def signal_job(name: str, key: str) -> Job:
    """The job that stands for this signal."""
    args = msgspec.json.encode({"name": name, "key": key}).decode()
    return Job(task=SIGNAL, kind="signal", id=derived_id("", f"{name}\0{key}"), args=args, tags=(f"signal:{name}",))


def event_of(job: Job) -> tuple[str, str]:
    """The name and the key that a signal's job stands for."""
    told = msgspec.json.decode(job.args)
    return told["name"], told["key"]
