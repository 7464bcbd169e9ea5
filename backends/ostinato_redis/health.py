"""What the server's own settings mean for jobs: whether it keeps them, and whether it may drop them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ostinato.errors import ConfigError, StoreError
from ostinato_redis.server import Server

log = logging.getLogger("ostinato.redis")

_FSYNC = {
    "always": "a crash of the process, of the server and of its machine: each is synced to disk before it returns",
    "everysec": "a crash of the process and of the server; a crash of its machine may lose the last second",
    "no": "a crash of the process and of the server; a crash of its machine may lose the last half minute",
}
_SAVED = ("rdb_last_bgsave_status", "aof_last_write_status")
_SYNCED = _FSYNC["always"] + " (durability=aof)"


class Health:
    """As it was when asked. ``durable`` says what a post survives, ``warnings`` what is wrong with that."""

    def __init__(self, server: Server) -> None:
        self._place = server.address.place
        self._info: Mapping[str, Any] = server.ask("INFO")
        self._settings = {name: _setting(server, name) for name in ("appendfsync", "save")}
        self.version = str(self._info.get("valkey_version") or self._info.get("redis_version", "unknown"))
        if server.address.aof:
            self._check_aof()
        self.durable = _SYNCED if server.address.aof else self._durable()
        self.warnings = list(self._warnings())
        if self.warnings:
            self.durable += f" (but: {'; '.join(self.warnings)})"

    @property
    def _appends(self) -> bool:
        return bool(self._info.get("aof_enabled"))

    def _check_aof(self) -> None:
        numbers = tuple(int(part) for part in str(self._info.get("redis_version", "0")).split(".")[:2])
        if "valkey_version" not in self._info and numbers < (7, 2):
            raise ConfigError(
                f"durability=aof needs Redis 7.2 or newer, or Valkey, but {self._place} is Redis {self.version}. "
                "Upgrade it, or leave durability out."
            )
        if not self._appends:
            raise ConfigError(
                f"durability=aof needs an append-only file, but {self._place} keeps none. Set `appendonly yes` "
                "(CONFIG SET appendonly yes, and in redis.conf), or leave durability out."
            )

    def _durable(self) -> str:
        if self._appends:
            return _FSYNC.get(self._settings["appendfsync"] or "everysec", _FSYNC["everysec"])
        if self._settings["save"] == "":
            return "a crash of the process; nothing else: the server keeps all in memory and saves nothing"
        if self._settings["save"] is None:
            return "a crash of the process; a crash of the server loses all since its last snapshot, if it makes any"
        return "a crash of the process; a crash of the server loses all since its last snapshot (no append-only file)"

    def _warnings(self) -> Any:
        policy = self._info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            yield f"it may evict jobs when memory is short (maxmemory-policy {policy}): set noeviction"
        if self._info.get("role", "master") != "master":
            yield "it is a replica and takes no writes: name the primary"
        if any(self._info.get(name, "ok") != "ok" for name in _SAVED):
            yield "its last save to disk failed: look into its log"
        if not self._appends and self._settings["save"] == "":
            yield "a restart of the server loses all jobs: set appendonly yes"

    def tell(self) -> None:
        for warning in self.warnings:
            log.warning("the Redis server at %s: %s", self._place, warning)


def _setting(server: Server, name: str) -> str | None:
    """None where settings may not be asked for, as with most hosted servers."""
    try:
        found = server.ask("CONFIG", "GET", name)
    except StoreError:
        return None
    if isinstance(found, Mapping):
        return next((_text(value) for value in found.values()), None)
    return _text(found[1]) if len(found) > 1 else None


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
