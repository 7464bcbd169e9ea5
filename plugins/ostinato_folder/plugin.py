"""The plugin: answers for plain paths and ``file:///`` URLs."""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit

from ostinato.errors import ConfigError
from ostinato.hooks import hookimpl
from ostinato.storage import LogStore


@hookimpl
def ostinato_log_store(url: str) -> LogStore | None:
    """A folder, local or mounted: ``logs``, ``/var/lib/app/logs``, ``file:///var/lib/app/logs``."""
    if "://" not in url and not url.startswith("file:"):
        return _made(url)
    if not url.startswith("file:"):
        return None
    parts = urlsplit(url)
    if parts.netloc or not parts.path.startswith("/"):
        raise ConfigError(f"The log store {url!r} has no absolute path. Write file:///var/log/jobs (three slashes).")
    if parts.query or parts.fragment:
        raise ConfigError(f"A log store in a folder has no options: write file://{parts.path}")
    return _made(unquote(parts.path))


def _made(path: str) -> LogStore:
    from ostinato_folder.store import FolderLogStore

    if not path or "\0" in path:
        raise ConfigError(f"The log store {path!r} is no path. Give a folder, such as log_store='logs'.")
    return FolderLogStore(os.path.expanduser(path))
