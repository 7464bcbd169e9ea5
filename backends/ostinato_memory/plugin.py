"""Answers ``memory://`` (a new private store) and ``memory://NAME`` (shared within the process)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from urllib.parse import urlsplit

from ostinato.errors import ConfigError
from ostinato.hooks import hookimpl
from ostinato.storage import Store
from ostinato_memory.ledger import Ledger
from ostinato_memory.store import MemoryStore

_shared: defaultdict[str, Ledger] = defaultdict(Ledger)
"""Ledgers by name; they live as long as the process, as ``memory://NAME`` promises."""


@hookimpl
def ostinato_store(url: str) -> Store | None:
    if not url.startswith("memory:"):
        return None
    parts = urlsplit(url)
    if not url.startswith("memory://") or parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(f"{url!r} is no memory store. Use memory:// (private) or memory://NAME (shared by name).")
    return MemoryStore(ledger=_shared[parts.netloc] if parts.netloc else None)


@hookimpl
def ostinato_test_store(url: str, clock: Callable[[], int]) -> Store | None:
    return MemoryStore(clock, _shared[urlsplit(url).netloc]) if url.startswith("memory:") else None
