"""Ostinato: an embeddable, durable job executor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ostinato.current import current_job
from ostinato.errors import (
    AlreadyPosted,
    ArgumentError,
    ConfigError,
    Interrupted,
    JobCancelled,
    JobEnded,
    JobExpired,
    JobFailed,
    JobNotFound,
    LogUnavailable,
    OstinatoError,
    PayloadError,
    ResourceError,
    StoreUnavailable,
    TaskError,
)
from ostinato.model import Backoff, Event, Job, Keep, Unique
from ostinato.task import task
from ostinato.verdicts import Cancel, Retry, Snooze

if TYPE_CHECKING:
    from ostinato.executor import TaskExecutor

__all__ = [
    "AlreadyPosted",
    "ArgumentError",
    "Backoff",
    "Cancel",
    "ConfigError",
    "Event",
    "Interrupted",
    "Job",
    "JobCancelled",
    "JobEnded",
    "JobExpired",
    "JobFailed",
    "JobNotFound",
    "Keep",
    "LogUnavailable",
    "OstinatoError",
    "PayloadError",
    "ResourceError",
    "Retry",
    "Snooze",
    "StoreUnavailable",
    "TaskError",
    "TaskExecutor",
    "Unique",
    "current_job",
    "task",
]


def __getattr__(name: str) -> Any:
    """The executor is imported when it is first used: a module that only defines tasks, and the
    fork server that imports it, need none of its rooms."""
    if name == "TaskExecutor":
        from ostinato.executor import TaskExecutor

        return TaskExecutor
    raise AttributeError(f"module 'ostinato' has no attribute {name!r}")
