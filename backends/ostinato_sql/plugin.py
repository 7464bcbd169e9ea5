"""The backend's plugin: stores for ``sqlite:///relative.db`` and ``sqlite:////absolute.db``."""

from __future__ import annotations

from difflib import get_close_matches
from urllib.parse import parse_qsl

from ostinato.errors import ConfigError
from ostinato.hooks import hookimpl
from ostinato.storage import Store
from ostinato_sql.sqlite import SYNCHRONOUS, SqliteDialect
from ostinato_sql.store import SqlStore

_OPTIONS = ("synchronous",)


@hookimpl
def ostinato_store(url: str) -> Store | None:
    if url.partition(":")[0] != "sqlite":
        return None
    place, _, query = url.partition("?")
    if not place.startswith("sqlite:///") or place == "sqlite:///":
        raise ConfigError(
            f"{url!r} does not name a file. Write sqlite:///jobs.db for a file in the working folder "
            "or sqlite:////var/lib/app/jobs.db for an absolute path (three or four slashes)."
        )
    path = place.removeprefix("sqlite:///")
    if path.startswith(":memory:"):
        raise ConfigError(f"{url!r} would be gone with its connection. Write memory:// for jobs that need not last.")
    return SqlStore(SqliteDialect(path, _options(url, query).get("synchronous", "FULL")))


def _options(url: str, query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS:
            close = get_close_matches(name, _OPTIONS, n=1, cutoff=0.5)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known options: {', '.join(_OPTIONS)}."
            raise ConfigError(f"{url!r} has an unknown option {name!r}. {hint}")
    if "synchronous" in options:
        options["synchronous"] = level = options["synchronous"].upper()
        if level not in SYNCHRONOUS:
            raise ConfigError(f"{url!r}: synchronous is {level!r}, but must be one of {', '.join(SYNCHRONOUS)}.")
    return options
