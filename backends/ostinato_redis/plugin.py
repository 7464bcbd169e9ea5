"""The backend's plugin: stores for ``redis://``, ``rediss://``, ``valkey://``, ``unix://`` and ``redis+cluster://``."""

from __future__ import annotations

from collections.abc import Callable

from ostinato.errors import ConfigError
from ostinato.hooks import hookimpl
from ostinato.storage import Store
from ostinato_redis.address import SCHEMES, address


@hookimpl
def ostinato_store(url: str) -> Store | None:
    return _store(url)


@hookimpl
def ostinato_test_store(url: str, clock: Callable[[], int]) -> Store | None:
    return _store(url, clock)


def _store(url: str, clock: Callable[[], int] | None = None) -> Store | None:
    if url.partition(":")[0].partition("+")[0].lower() not in SCHEMES:
        return None
    where = address(url)
    try:
        from ostinato_redis.store import RedisStore
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "redis":
            raise
        raise ConfigError(
            f"The store {where.place!r} needs the driver of Redis. Install it: pip install 'ostinato[redis]'"
        ) from None
    return RedisStore(where, clock)
