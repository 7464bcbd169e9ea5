"""The memory store under the conformance kit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings
from steps import steps_of  # type: ignore[import-not-found]

from ostinato.errors import ConfigError
from ostinato.model import HIGH, Row
from ostinato.storage import Store
from ostinato.testing.cases.listening import heard_during, listening
from ostinato.testing.clock import FakeClock
from ostinato.testing.conformance import MakeStore, StoreConformance
from ostinato.testing.machine import StoreMachine
from ostinato.testing.samples import claim, exists, job, jobs, names
from ostinato_memory.ledger import Ledger
from ostinato_memory.plugin import ostinato_store
from ostinato_memory.store import MemoryStore


class TestMemory(StoreConformance):
    @pytest.fixture
    def make_store(self) -> MakeStore:
        ledger = Ledger()
        return lambda *, clock: MemoryStore(clock, ledger)


class MemoryMachine(StoreMachine):
    def make_store(self, clock: Callable[[], int]) -> MemoryStore:
        return MemoryStore(clock)


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_url_of_a_private_store_shares_nothing() -> None:
    one, other = open_url("memory://"), open_url("memory://")
    one.post([job("a")])
    assert not exists(other, "a")


def test_url_with_a_name_shares_within_the_process() -> None:
    one, other = open_url("memory://shared-by-test"), open_url("memory://shared-by-test")
    one.post([job("a")])
    one.close()
    assert exists(other, "a")
    assert not exists(open_url("memory://another-by-test"), "a")


def test_closing_one_of_two_shared_stores_leaves_the_other_listening() -> None:
    one, other = open_url("memory://closed-by-test"), open_url("memory://closed-by-test")
    with listening(other, "ready") as listener:
        one.close()
        assert heard_during(listener, lambda: other.post([job("a")])) == {"ready"}


def test_url_of_another_backend_is_left_alone() -> None:
    assert ostinato_store("sqlite:///jobs.db") is None


@pytest.mark.parametrize("url", ["memory:", "memory:name", "memory://name/path", "memory://?size=1"])
def test_malformed_url_teaches(url: str) -> None:
    with pytest.raises(ConfigError, match="memory://NAME"):
        ostinato_store(url)


def open_url(url: str) -> Store:
    store = ostinato_store(url)
    assert store is not None
    store.open()
    return store


def test_claim_looks_at_no_job_that_it_cannot_take() -> None:
    steps_of_a_claim(behind=4)  # the first one compiles the patterns of queues
    assert steps_of_a_claim(behind=20_000) < 2 * steps_of_a_claim(behind=20)


def steps_of_a_claim(behind: int) -> int:
    store = MemoryStore(FakeClock())
    store.limit({"queue:paused": 0})
    for fields in ({"task": "unknown"}, {"queue": "paused"}, {"holds": (("nobody has it", 1),)}, {"slots": 99}):
        store.post(jobs(behind // 4, str(fields), priority=HIGH, **fields))
    store.post([job("mine")])
    taken: list[Row] = []
    steps = steps_of(lambda: taken.extend(claim(store, queues=("*",), slots=4, capacity=4, count=1)))
    assert names(taken) == ["mine"]
    return steps
