"""Answers ``shelf:///relative.json`` and ``shelf:////absolute.json``."""

from __future__ import annotations

import time
from collections.abc import Callable

from ostinato.hooks import hookimpl
from ostinato.storage import Store
from ostinato_shelf.store import ShelfStore


@hookimpl
def ostinato_store(url: str) -> Store | None:
    return ostinato_test_store(url, lambda: time.time_ns() // 1000)


@hookimpl
def ostinato_test_store(url: str, clock: Callable[[], int]) -> Store | None:
    return ShelfStore(url.removeprefix("shelf:///"), clock) if url.startswith("shelf:///") else None
