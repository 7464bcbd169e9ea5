"""One job a tick on every store, however many executors look after it, and wherever they die.

The clock of the store is the test's: every store takes one, servers too, so minutes last seconds (ten of them with
``OSTINATO_TEST_FULL=1``, else two).
Real executors that are killed are in ``tests/chaos/test_ticks.py``.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from harness import WAIT
from stores import NewUrl, on_empty_stores

from ostinato.book import Book
from ostinato.errors import StoreUnavailable
from ostinato.model import SECOND
from ostinato.plugins import open_test_store
from ostinato.schedule import define
from ostinato.storage import JobQuery, Store
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import job
from ostinato.ticker import Ticker

EXECUTORS = 16
SECONDS = 600 if os.environ.get("OSTINATO_TEST_FULL") else 120


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(new_url: NewUrl, clock: FakeClock) -> Iterator[Store]:
    """With a schedule that ticks every second, from now on."""
    one = open_test_store(new_url(), clock)
    one.open()
    every_second = define("s", job(""), every=1, anchor=clock.now, overlap="allow", catch_up="all")
    Book(one).add(every_second, replacing=False)
    yield one
    one.close()


def ticks(store: Store, begun: int) -> list[int]:
    """The ticks of all jobs, in seconds since then."""
    rows = store.find(JobQuery(oldest_first=True, limit=10_000)).rows
    return [((row.job.tick or 0) - begun) // SECOND for row in rows]


@on_empty_stores()
def test_a_tick_posts_once_however_many_look_after_it(store: Store, clock: FakeClock) -> None:
    """All race for every tick, but for some who sleep over it and make up for it later."""
    begun = clock.now
    second_begins = threading.Barrier(EXECUTORS, lambda: clock.advance(1) and None, timeout=WAIT)

    def race(number: int) -> None:
        ticker, dice = Ticker(store), random.Random(number)
        for _ in range(SECONDS):
            second_begins.wait()
            if dice.random() < 0.7:
                ticker._turn()
        ticker._turn()

    with ThreadPoolExecutor(EXECUTORS) as pool:
        list(pool.map(race, range(EXECUTORS)))
    assert ticks(store, begun) == list(range(1, SECONDS + 1))


@on_empty_stores()
def test_tickers_that_die_anywhere_lose_and_double_no_tick(store: Store, clock: FakeClock) -> None:
    """Each call of the store may be the last of a ticker, before or after it was carried out."""

    class Deadly:
        def __init__(self, left: int) -> None:
            self.left = left

        def __getattr__(self, name: str) -> Any:
            def call(*args: Any) -> Any:
                self.left -= 1
                if self.left == 0:
                    raise StoreUnavailable("dead before")
                answer = getattr(store, name)(*args)
                if self.left == 1:
                    self.left = -1
                    raise StoreUnavailable("dead after")
                return answer

            return call

    begun = clock.now
    for second in range(60):
        clock.advance(1)
        for ticker in (Ticker(Deadly(second % 9 + 1)), Ticker(store)):  # type: ignore[arg-type]
            try:
                ticker._turn()
            except StoreUnavailable:
                continue
    assert ticks(store, begun) == list(range(1, 61))
