"""Exit codes, and which error means which. They are stable: scripts rely on them."""

from __future__ import annotations

from ostinato.errors import (
    AnswerError,
    ConfigError,
    JobEnded,
    JobNotFound,
    LogUnavailable,
    OstinatoError,
    PostError,
    StoreError,
    UnknownTask,
)

OK, FAILED, USAGE, NOT_FOUND, UNREACHABLE, TIMEOUT, REFUSED = range(7)
INTERRUPTED = 130

_CODES: tuple[tuple[type[Exception], int], ...] = (
    (JobEnded, FAILED),
    (ConfigError, USAGE),
    (JobNotFound, NOT_FOUND),
    (UnknownTask, NOT_FOUND),
    (LogUnavailable, NOT_FOUND),
    (StoreError, UNREACHABLE),
    (TimeoutError, TIMEOUT),
    (PostError, REFUSED),
    (AnswerError, REFUSED),
)


class Refused(OstinatoError):
    """What was asked for cannot be done to a job in its state."""


def code_of(error: Exception) -> int:
    """The exit code for an error of the library."""
    if isinstance(error, Refused):
        return REFUSED
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)
