"""The URL of a Redis store, taken apart."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from ostinato.errors import ConfigError
from ostinato_redis.keys import DEFAULT, own_key

SCHEMES = ("redis", "rediss", "valkey", "valkeys", "unix")
_FORMS = ("", "unix", "cluster")
_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_OPTIONS = ("namespace", "durability", "timeout", "db", *_TLS)
_EXAMPLES = "redis://localhost:6379/0, unix:///run/redis.sock or redis+cluster://host:6379,host:6380/"


class Address(Struct, frozen=True, kw_only=True):
    """Where a store is and how it is to be used. ``place`` names it without secrets; ``timeout`` in seconds."""

    place: str
    own: str
    nodes: tuple[tuple[str, int], ...] = ()
    socket: str | None = None
    cluster: bool = False
    tls: bool = False
    db: int = 0
    username: str | None = None
    password: str | None = None
    timeout: float = 10.0
    aof: bool = False
    certificates: tuple[tuple[str, str], ...] = ()


def address(url: str) -> Address:
    """Raises ConfigError; its messages never show the password."""
    scheme, _, rest = url.partition("://")
    kind, _, form = scheme.lower().partition("+")
    place, _, query = rest.partition("?")
    credentials, _, where = place.rpartition("@")
    shown = f"{scheme}://{where}"
    if kind not in SCHEMES or form not in _FORMS or not where or "#" in rest:
        raise ConfigError(f"{shown!r} does not name a Redis server. Write {_EXAMPLES}.")
    options = _options(shown, query)
    username, _, password = credentials.partition(":")
    tls = kind in ("rediss", "valkeys")
    if not tls and any(name in options for name in _TLS):
        raise ConfigError(f"{shown!r}: certificates are for encrypted connections. Write rediss://...")
    whole = Address(
        place=shown,
        own=own_key(options.get("namespace", DEFAULT)),
        username=unquote(username) or None,
        password=unquote(password) or None,
        tls=tls,
        timeout=_seconds(shown, options.get("timeout", "10")),
        aof=_aof(shown, options.get("durability")),
        certificates=tuple((name, options[name]) for name in _TLS if name in options),
    )
    fields = _socket(shown, where, options) if "unix" in (kind, form) else _network(shown, where, options, form)
    return _with(whole, fields)


def _with(whole: Address, fields: Mapping[str, Any]) -> Address:
    from msgspec.structs import replace

    return replace(whole, **fields)


def _options(shown: str, query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS:
            close = get_close_matches(name, _OPTIONS, n=1, cutoff=0.5)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known options: {', '.join(_OPTIONS)}."
            raise ConfigError(f"{shown!r} has an unknown option {name!r}. {hint}")
    return options


def _socket(shown: str, where: str, options: Mapping[str, str]) -> dict[str, Any]:
    if not where.startswith("/"):
        raise ConfigError(f"{shown!r} does not name a socket. Write its absolute path: unix:///run/redis.sock")
    return {"socket": unquote(where), "db": _number(shown, "db", options.get("db", "0"))}


def _network(shown: str, where: str, options: Mapping[str, str], form: str) -> dict[str, Any]:
    hosts, _, path = where.partition("/")
    nodes = tuple(_node(shown, one) for one in hosts.split(","))
    db = _number(shown, "the number of the database", path.strip("/") or options.get("db", "0"))
    if form == "cluster" and db != 0:
        raise ConfigError(f"{shown!r}: a cluster has the database 0 only. Tell stores apart by ?namespace=NAME.")
    if form != "cluster" and len(nodes) > 1:
        raise ConfigError(f"{shown!r} names several servers. If they are a cluster, write redis+cluster://...")
    return {"nodes": nodes, "cluster": form == "cluster", "db": db}


def _node(shown: str, text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        return parts.hostname or "localhost", parts.port or 6379
    except ValueError as error:
        raise ConfigError(f"{shown!r}: {text!r} is no host and port ({error}). Write {_EXAMPLES}.") from None


def _number(shown: str, what: str, text: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"{shown!r}: {what} is {text!r}, but must be a whole number such as 0.")
    return int(text)


def _seconds(shown: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"{shown!r}: timeout is {text!r}, but must be a number of seconds such as 10.")
    return seconds


def _aof(shown: str, level: str | None) -> bool:
    if level not in (None, "aof"):
        raise ConfigError(
            f"{shown!r}: durability is {level!r}, but can only be 'aof' (each post and outcome is on disk before it "
            "returns), or be left out (what the server is configured for)."
        )
    return level == "aof"
