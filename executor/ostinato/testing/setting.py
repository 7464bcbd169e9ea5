"""The setting of every case: a fake clock, a store, and further stores on the same data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import pytest

from ostinato.storage import Store
from ostinato.testing.clock import FakeClock


class MakeStore(Protocol):
    """Fixture ``make_store`` of the backend under test."""

    def __call__(self, *, clock: Callable[[], int]) -> Store: ...


OpenStore = Callable[[], Store]


class Setting:
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def open_store(self, make_store: MakeStore, clock: FakeClock) -> Iterator[OpenStore]:
        """Opens one more store on the same data."""
        opened: list[Store] = []

        def open_one() -> Store:
            store = make_store(clock=clock)
            store.open()
            opened.append(store)
            return store

        yield open_one
        for store in opened:
            store.close()

    @pytest.fixture
    def store(self, open_store: OpenStore) -> Store:
        return open_store()
