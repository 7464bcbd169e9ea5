"""From a URL to the parts of it that every database has."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from msgspec import Struct

from ostinato.errors import ConfigError
from ostinato_sql.naming import Naming, naming


class Address(Struct, frozen=True):
    """``place`` is the URL without password and options, for messages."""

    place: str
    host: str
    port: int | None
    user: str
    password: str
    database: str
    options: dict[str, str]


def parse_server(url: str, example: str) -> Address:
    """Raises ConfigError, in which no password is repeated."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError(
            f"The store's URL cannot be read. Write {example} (with % before signs in a password)."
        ) from None
    database = unquote(parts.path.removeprefix("/"))
    if not database:
        raise ConfigError(f"{_place(parts)!r} names no database. Write {example}.")
    return Address(
        place=_place(parts),
        host=parts.hostname or "",
        port=port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=database,
        options=options_of(parts.query),
    )


def _place(parts: SplitResult) -> str:
    user = f"{parts.username}@" if parts.username else ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{user}{parts.hostname or ''}{port}{parts.path}"


def options_of(query: str) -> dict[str, str]:
    return dict(parse_qsl(query, keep_blank_values=True))


def check_options(place: str, given: Collection[str], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            close = get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known options: {', '.join(known)}."
            raise ConfigError(f"{place!r} has an unknown option {name!r}. {hint}")


def take_naming(options: dict[str, str]) -> Naming:
    """Out of the options ``schema`` and ``prefix``, which are removed."""
    return naming(options.pop("schema", ""), options.pop("prefix", "ostinato_"))


def take_switch(place: str, options: dict[str, str], name: str) -> bool:
    """Whether an option is not switched off; it is removed."""
    said = options.pop(name, "on")
    if said not in ("on", "off"):
        raise ConfigError(f"{place!r}: {name} is {said!r}, but must be on or off.")
    return said == "on"


def take_seconds(place: str, options: dict[str, str], name: str) -> int:
    """A whole number of seconds; it is removed."""
    said = options.pop(name)
    if not said.isdigit() or int(said) < 1:
        raise ConfigError(f"{place!r}: {name} is {said!r}, but must be a number of seconds, 1 or more.")
    return int(said)
