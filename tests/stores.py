"""The stores that the proofs run on: each by name, as a URL template, and how to restart its server hard.

A further store is one more line in `STORES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct


class Place(Struct, frozen=True):
    """Where a store is. ``{name}`` in ``url`` stands for a word that keeps its data from others';
    ``address`` is where its server listens, ``restart`` kills the server and starts it again, both
    None if there is no server."""

    url: str
    address: tuple[str, int] | None = None
    restart: Callable[[], None] | None = None

    def named(self, name: str) -> str:
        return self.url.replace("{name}", name)


@contextmanager
def sqlite(folder: Path) -> Iterator[Place]:
    yield Place(f"sqlite:///{folder}/{{name}}.db")


STORES = {"sqlite": sqlite}
"""By name: makes the place, and takes it away again."""
