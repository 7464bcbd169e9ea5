"""The spool: the folder of an executor in which the attempts that run now have their logs.

    <root>/<executor id>/lock                        held while the executor lives
    <root>/<executor id>/<job id>-<attempt>.log      made by the attempt, removed once uploaded

The kernel releases the lock when the executor dies, however it dies; then another executor of
this host may take it and with it the logs (`orphans`). Names are made of ids that we made,
never of anything a user wrote.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import weakref
from collections.abc import Iterator, Mapping

import msgspec

from ostinato import pino
from ostinato.errors import ConfigError
from ostinato.sink import put

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows: no lock, and so no adoption
    fcntl = None  # type: ignore[assignment]

LOCK = "lock"
SNAPSHOT = "snapshot.part"

_JOB = re.compile(r"[0-9A-Za-z]{5,64}")
_EXECUTOR = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.-]{0,79}")
_NAME = re.compile(r"([0-9A-Za-z]{5,64})-([1-9][0-9]{0,8})\.log")
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)


def log_name(job_id: str, attempt: int) -> str:
    """The file name of an attempt's log."""
    if not _JOB.fullmatch(job_id) or attempt < 1:
        raise ValueError(f"{job_id!r}, attempt {attempt!r}: not an id that Ostinato made; no log can have that name.")
    return f"{job_id}-{attempt}.log"


def log_key(job_id: str, attempt: int) -> str:
    """The key of an attempt's log in a log store. The first characters of an id are its
    time, so that a folder holds the logs of one period, and can be thrown away with it."""
    return f"{job_id[:5]}/{log_name(job_id, attempt)}"


def parse(name: str) -> tuple[str, int] | None:
    """The job id and attempt of a log's file name; None if it is none."""
    match = _NAME.fullmatch(name)
    return (match[1], int(match[2])) if match else None


class Spool:
    """The spool of one living executor. `close` lets go of it; logs that are left stay."""

    def __init__(self, root: str, executor_id: str) -> None:
        if not _EXECUTOR.fullmatch(executor_id):
            raise ValueError(f"{executor_id!r} is not an executor id.")
        self.root = os.path.abspath(root)
        self.folder = os.path.join(self.root, executor_id)
        _check_root(self.root)
        self._lock = self._make()
        _open_spools.add(self)

    def path(self, job_id: str, attempt: int) -> str:
        """Where the attempt is to make its log."""
        return f"{self.folder}/{log_name(job_id, attempt)}"

    def close(self) -> None:
        """Give up the lock; the folder goes too if all its logs are uploaded."""
        if self._lock >= 0:
            _remove_if_empty(self.folder)
            self.forget()

    def forget(self) -> None:
        """Close the descriptor only."""
        if self._lock >= 0:
            fd, self._lock = self._lock, -1
            os.close(fd)

    def _make(self) -> int:
        """The folder appears under its name only once the lock is held: else an adopter could
        find it unlocked in between, and take it away."""
        young = os.path.join(self.root, f".new-{os.path.basename(self.folder)}")
        try:
            fd = _locked_folder(young, self.folder)
            os.rename(young, self.folder)
        except OSError as error:
            raise ConfigError(
                f"Cannot make the spool folder {self.folder}: {error.strerror or error}. "
                "Give a folder that this user can write: TaskExecutor(..., spool=...)."
            ) from error
        return fd


_open_spools: weakref.WeakSet[Spool] = weakref.WeakSet()


def _after_fork() -> None:
    """A lock belongs to all processes that have it open: a child of the host application must
    not keep the lock of an executor that died."""
    for spool in list(_open_spools):
        spool.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Orphan:
    """The folder of a dead executor, with its lock held by us."""

    def __init__(self, folder: str, lock: int) -> None:
        self.folder = folder
        self.left = 0  # logs that are still to be uploaded; counted by the adopter
        self._lock = lock

    def logs(self) -> list[tuple[str, int, str]]:
        """Job id, attempt and path of each log in it. Links are none of ours and are left alone."""
        found = []
        for name in sorted(os.listdir(self.folder)):
            path, parsed = f"{self.folder}/{name}", parse(name)
            if parsed is not None and stat.S_ISREG(os.lstat(path).st_mode):
                found.append((*parsed, path))
        return found

    def close(self) -> None:
        """Let go of it; it is removed if it is empty now."""
        if self._lock >= 0:
            _remove_if_empty(self.folder)
            os.close(self._lock)
            self._lock = -1


def orphans(root: str) -> Iterator[Orphan]:
    """The folders of executors of this host that died. Each is locked until it is closed, so
    that of many executors one adopts it."""
    if fcntl is None:
        return
    for name in sorted(os.listdir(root)):
        folder = os.path.join(root, name)
        if _EXECUTOR.fullmatch(name) and _is_ours(folder):
            fd = _lock_in(folder, 0)
            if fd is not None:
                yield Orphan(folder, fd)


def close_log(
    path: str, bindings: Mapping[str, object], level: int, msg: str, fields: Mapping[str, object] | None = None
) -> bool:
    """Append the executor's own last line: how the attempt ended (``fields`` has ``outcome``).

    False if there is no log: a file is not made only to say that an attempt went well.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND | _NO_FOLLOW)
    except OSError:
        return False
    try:
        size = os.fstat(fd).st_size
        torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"  # killed in the middle of a line
        put(fd, (b"\n" if torn else b"") + pino.line(pino.head(bindings), level, msg, fields, name="ostinato"))
    finally:
        os.close(fd)
    return True


def is_closed(path: str) -> bool:
    """Whether the last line is one of `close_log`."""
    try:
        fd = os.open(path, os.O_RDONLY | _NO_FOLLOW)
    except OSError:
        return False
    try:
        size = os.fstat(fd).st_size
        last = os.pread(fd, 65536, max(0, size - 65536)).rstrip(b"\n").rsplit(b"\n", 1)[-1]
        said = msgspec.json.decode(last)
        return isinstance(said, dict) and said.get("name") == "ostinato" and "outcome" in said
    except (OSError, ValueError):
        return False
    finally:
        os.close(fd)


def _check_root(root: str) -> None:
    try:
        os.makedirs(root, mode=0o700, exist_ok=True)
        found = os.stat(root)
    except OSError as error:
        raise ConfigError(f"Cannot make the spool folder {root}: {error.strerror}. Give another: spool=...") from error
    shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX
    if shared or found.st_uid not in (_me(found), 0):
        raise ConfigError(
            f"Other users can change files in the spool folder {root}. "
            f"Make it yours alone (chmod go-w {root}), or give another: spool=..."
        )


def _locked_folder(young: str, final: str) -> int:
    if os.path.lexists(final):
        raise FileExistsError(errno.EEXIST, "it exists already")
    os.mkdir(young, 0o700)
    fd = _lock_in(young, os.O_CREAT | os.O_EXCL) if _is_ours(young) else None
    if fd is None:
        raise OSError(errno.EPERM, "somebody else changes files there")
    return fd


def _is_ours(folder: str) -> bool:
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == _me(found)


def _me(found: os.stat_result) -> int:
    return os.geteuid() if hasattr(os, "geteuid") else found.st_uid


def _lock_in(folder: str, flags: int) -> int | None:
    """The descriptor of the locked lock file; None if another process has it."""
    path = os.path.join(folder, LOCK)
    try:
        fd = os.open(path, os.O_RDWR | flags | _NO_FOLLOW | getattr(os, "O_CLOEXEC", 0), 0o600)
    except OSError:
        if flags:
            raise
        return None
    if fcntl is None:
        return fd
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(path, follow_symlinks=False).st_ino == os.fstat(fd).st_ino:
            return fd
    except OSError:
        pass  # held, or the folder was adopted and removed since we opened it
    os.close(fd)
    return None


def _remove_if_empty(folder: str) -> None:
    try:
        if set(os.listdir(folder)) <= {LOCK, SNAPSHOT}:
            for name in (SNAPSHOT, LOCK):
                try:
                    os.unlink(f"{folder}/{name}")
                except FileNotFoundError:
                    continue
            os.rmdir(folder)
    except OSError:
        return  # not ours to fail over: the next adopter tries again
