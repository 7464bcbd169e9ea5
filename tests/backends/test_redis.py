"""The Redis store under the conformance kit: on Valkey, on Redis, and on a cluster of three nodes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings
from redis_servers import make, new_namespace

from ostinato.testing.conformance import MakeStore, StoreConformance
from ostinato.testing.machine import StoreMachine
from ostinato_redis.store import RedisStore


class OnRedis(StoreConformance):
    @pytest.fixture
    def make_store(self, base: str) -> MakeStore:
        url = f"{base}?namespace={new_namespace()}"
        return lambda *, clock: make(url, clock)


class TestValkey(OnRedis):
    @pytest.fixture
    def base(self, valkey: str) -> str:
        return valkey


class TestRedis(OnRedis):
    @pytest.fixture
    def base(self, real_redis: str) -> str:
        return real_redis


class TestValkeyCluster(OnRedis):
    @pytest.fixture
    def base(self, valkey_cluster: str) -> str:
        return valkey_cluster


class RedisMachine(StoreMachine):
    base = ""

    def make_store(self, clock: Callable[[], int]) -> RedisStore:
        return make(f"{self.base}?namespace={new_namespace()}", clock)


@pytest.fixture(autouse=True, scope="module")
def _machine_on_valkey(valkey: str) -> None:
    RedisMachine.base = valkey


TestRedisMachine = RedisMachine.TestCase
TestRedisMachine.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
