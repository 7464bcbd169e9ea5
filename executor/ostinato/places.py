"""Where an executor keeps files: the default log store and the spool, derived from the store's URL."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from functools import lru_cache

from msgspec import Struct

from ostinato.config import Config


class Places(Struct, frozen=True):
    """``log_store`` is a URL or folder, ``spool`` a folder of this host."""

    log_store: str
    spool: str


def places(config: Config) -> Places:
    """What the configuration says, else beside the SQLite file; a folder that goes with the
    process for jobs in memory; else one of the user's state folder, which is that of this store: who adopts logs
    of a dead executor records in its own store where they went."""
    scheme, _, rest = config.url.partition("://")
    if scheme == "sqlite" and rest.strip("/"):
        path = os.path.abspath(rest.partition("?")[0].removeprefix("/"))
        logs, spool = f"{os.path.splitext(path)[0]}.logs", f"{path}.spool"
    elif scheme == "memory":
        logs, spool = os.path.join(_temporary(), "logs"), os.path.join(_temporary(), "spool")
    else:
        logs, spool = os.path.abspath("ostinato-logs"), os.path.join(_state_folder(), "spool", _name(scheme, rest))
    return Places(config.log_store or logs, os.path.abspath(config.spool or spool))


def _name(scheme: str, rest: str) -> str:
    """Of a store's folder: the same whoever logs in to it."""
    server, slash, place = rest.partition("/")
    host = server.rpartition("@")[2]
    return hashlib.sha256(f"{scheme}://{host}{slash}{place}".encode()).hexdigest()[:16]


@lru_cache(maxsize=1)
def _temporary() -> str:
    folder = tempfile.mkdtemp(prefix="ostinato-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _state_folder() -> str:
    base = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(base, "ostinato")
