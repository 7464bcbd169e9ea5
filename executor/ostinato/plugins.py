"""The plugin manager: find backends by URL scheme, everything else by entry point."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import entry_points
from urllib.parse import urlsplit

import pluggy

from ostinato import hooks
from ostinato.errors import ConfigError
from ostinato.names import suggest
from ostinato.storage import LogStore, Store

BACKENDS = "ostinato.backends"
PLUGINS = "ostinato"


@lru_cache(maxsize=1)
def manager() -> pluggy.PluginManager:
    """The one plugin manager of this process. Backends are loaded into it when a URL names them."""
    found = pluggy.PluginManager("ostinato")
    found.add_hookspecs(hooks)
    found.load_setuptools_entrypoints(PLUGINS)
    return found


def open_store(url: str) -> Store:
    """The store that a URL names, not opened yet. Raises ConfigError."""
    scheme = _load_backend(url)
    store: Store | None = manager().hook.ostinato_store(url=url)
    if store is None:
        raise ConfigError(f"The backend of {scheme!r} does not take {masked(url)!r}: check the URL.")
    return store


def open_test_store(url: str, clock: Callable[[], int]) -> Store:
    """The store that a URL names, with a clock that a test moves. Raises ConfigError."""
    scheme = _load_backend(url)
    store: Store | None = manager().hook.ostinato_test_store(url=url, clock=clock)
    if store is None:
        raise ConfigError(
            f"The backend of {scheme!r} makes no store with a clock of the tests. Let its plugin have the hook "
            "ostinato_test_store(url, clock)."
        )
    return store


def _load_backend(url: str) -> str:
    """Import the backend that the URL's scheme names; the scheme."""
    scheme = _scheme(url).partition("+")[0]
    known = {entry.name for entry in entry_points(group=BACKENDS)}
    if scheme not in known:
        raise ConfigError(
            f"No storage backend answers to {masked(url)!r}. {suggest(scheme, known)} "
            "A store is named by a URL such as sqlite:///jobs.db or memory://."
        )
    plugins = manager()
    for entry in entry_points(group=BACKENDS, name=scheme):
        backend = entry.load()
        if not plugins.is_registered(backend):  # one may answer to several schemes
            plugins.register(backend)
    return scheme


def open_log_store(url: str) -> LogStore:
    """The log store that a URL or folder names. Raises ConfigError."""
    store: LogStore | None = manager().hook.ostinato_log_store(url=url)
    if store is None:
        raise ConfigError(
            f"No log store answers to {masked(url)!r}. Give a folder, or s3://bucket/prefix (needs ostinato[s3])."
        )
    return store


def _scheme(url: str) -> str:
    if not isinstance(url, str) or ":" not in url:
        raise ConfigError(
            f"{url!r} is no URL of a store: write sqlite:///jobs.db, sqlite:////srv/jobs.db or memory://."
        )
    return url.partition(":")[0].lower()


def masked(url: str) -> str:
    """The URL without its password."""
    try:
        parts = urlsplit(url)
        if parts.password is None:
            return url
        return parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")).geturl()
    except ValueError:
        return url.partition(":")[0] + ":***"
