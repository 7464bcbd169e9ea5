"""Signals: a job that nobody runs stands for each name and key, whoever speaks of it first.

Who waits for the signal comes after that job, who gives it answers it: so it does not matter which of the
two came first, and a second answer changes nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ostinato.codec import encode_args
from ostinato.ids import derived_id
from ostinato.model import SIGNAL, Job
from ostinato.names import check_name
from ostinato.storage import Ask, Store


def signal_job(name: str, key: str) -> Job:
    """The job that stands for this signal."""
    args = msgspec.json.encode({"name": name, "key": key}).decode()
    return Job(task=SIGNAL, kind="signal", id=derived_id("", f"{name}\0{key}"), args=args, tags=(f"signal:{name}",))


def give(store: Store, name: str, key: str, payload: Any) -> bool:
    """Give the signal; False, and nothing is changed, if it was given before. Raises ConfigError, PayloadError."""
    job = signal_job(check_name("event", name), key)
    result = encode_args({"payload": payload}, f"signal {name}")[len('{"payload":') : -1]
    store.post([job])
    (changed,) = store.change([job.id], Ask(kind="answer", result=result, reason="given"))
    return changed.before == "waiting"
