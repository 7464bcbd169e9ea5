"""Logs in a folder: taken over by hard link where that works, else copied."""

from __future__ import annotations

import os
import re
import shutil
import threading
from pathlib import PurePath

from ostinato.errors import ConfigError, LogUnavailable

_PART = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z_.-]{0,199}")


class FolderLogStore:
    """A `LogStore` in a folder that is made at the first log. Folders it makes are 0700.

    On the file system of the spool a log is linked, which costs two calls and copies nothing:
    the link is as durable as the spool file was. To another one (a network mount, most often)
    it is copied, forced to disk, and renamed into place.
    """

    def __init__(self, path: str) -> None:
        self._root = os.path.abspath(path)
        if os.path.lexists(self._root) and not os.path.isdir(self._root):
            raise ConfigError(f"The log store {self._root} is not a folder. Give a folder, or a path to make one at.")
        self.url = PurePath(self._root).as_uri().rstrip("/")

    def put(self, key: str, path: str) -> None:
        target = self._target(key)
        try:
            os.link(path, target, follow_symlinks=False)
        except FileNotFoundError:
            os.makedirs(self._root, mode=0o700, exist_ok=True)
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            self._replace(path, target)
        except OSError:  # there is one already; or links do not work here
            self._replace(path, target)

    def get(self, key: str) -> bytes:
        try:
            with open(self._target(key), "rb") as file:
                return file.read()
        except FileNotFoundError:
            raise LogUnavailable(f"There is no log {key} in {self.url}.") from None

    def delete(self, key: str) -> None:
        target = self._target(key)
        try:
            os.unlink(target)
            os.rmdir(os.path.dirname(target))
        except OSError as error:
            if os.path.lexists(target):
                raise error from None  # else it was gone before, or its folder holds others

    def close(self) -> None:
        """Nothing is held open."""

    def _replace(self, path: str, target: str) -> None:
        part = f"{target}.{os.getpid()}-{threading.get_ident()}.part"
        try:
            try:
                os.link(path, part, follow_symlinks=False)
            except OSError:
                _copy(path, part)
            os.replace(part, target)
        finally:
            # Renaming one link of a file over another link of it does nothing, says POSIX.
            if os.path.lexists(part):
                os.unlink(part)

    def _target(self, key: str) -> str:
        if not all(_PART.fullmatch(part) for part in key.split("/")):
            raise ValueError(f"{key!r} cannot be the key of a log: it could lead out of {self._root}.")
        return f"{self._root}/{key}"


def _copy(path: str, part: str) -> None:
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(path, "rb") as source, open(fd, "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        target.flush()
        os.fsync(target.fileno())
