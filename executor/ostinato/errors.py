"""Every error Ostinato raises. Each also is the builtin that a stranger would catch.

    OstinatoError
    ├── ConfigError        (ValueError)       an option, URL or file of settings is wrong
    ├── TaskError          (TypeError)        a function cannot become a task
    ├── UnknownTask        (LookupError)      no such task is registered here
    ├── PostError                             a job was refused; nothing was stored
    │   ├── ArgumentError  (TypeError)        arguments do not fit the task's signature
    │   ├── PayloadError   (ValueError)       a value cannot be stored, or is too large
    │   ├── AlreadyPosted  (ValueError)       another job holds the unique key
    │   └── ResourceError  (ValueError)       no such resource, or not so many units of it
    ├── StoreError
    │   ├── StoreUnavailable (ConnectionError) the store cannot be reached or used now
    │   └── StoreCorrupt   (ValueError)       what the store holds cannot be read
    ├── NotRunning         (RuntimeError)     the executor is not started, or is stopped
    ├── JobNotFound        (LookupError)      no job has this id
    ├── JobEnded                              result() of a job that did not succeed
    │   ├── JobFailed      (RuntimeError)
    │   ├── JobCancelled   (RuntimeError)
    │   └── JobExpired     (RuntimeError)
    ├── FlowError          (RuntimeError)     a flow cannot go on as its code is
    │   └── FlowChanged                       its code no longer fits its record
    ├── Rejected           (PermissionError)  a person said no
    ├── WaitTimeout        (TimeoutError)     what a flow waited for did not come in time
    ├── AnswerError        (ValueError)       this answer is not one to that question
    ├── LogUnavailable     (LookupError)      the log of an attempt cannot be read here and now
    └── RunnerError        (RuntimeError)     an attempt's process cannot be made

`Interrupted` is not among them: it is a ``BaseException``, so that ``except Exception`` in a
task does not swallow a stop.
"""

from __future__ import annotations


class OstinatoError(Exception):
    """Root of all errors of this library."""


class ConfigError(OstinatoError, ValueError):
    """An option, URL or settings file is wrong."""


class TaskError(OstinatoError, TypeError):
    """A function cannot become a task."""


class UnknownTask(OstinatoError, LookupError):
    """No task of this name is registered in this process."""


class PostError(OstinatoError):
    """A job was refused when posted; nothing was stored."""


class ArgumentError(PostError, TypeError):
    """The arguments do not fit the task's signature and type hints."""


class PayloadError(PostError, ValueError):
    """A value cannot be stored as JSON, or the payload is over the limit."""


class AlreadyPosted(PostError, ValueError):
    """Another job holds the unique key, and the post was to be refused then.

    Attributes: ``key`` and ``job_id``, the holder's.
    """

    def __init__(self, key: str, job_id: str) -> None:
        super().__init__(
            f"Job {job_id} holds the unique key {key!r}, so nothing was posted. Wait for it, cancel it, or give "
            'on_conflict="existing" or "replace".'
        )
        self.key = key
        self.job_id = job_id


class ResourceError(PostError, ValueError):
    """The job needs a resource that nobody declared, or more units than it has.

    Attributes: ``resource``, ``units`` (needed), ``declared`` (None: it is not declared).
    """

    def __init__(self, resource: str, units: int, declared: int | None, known: str = "") -> None:
        if declared is None:
            what = f"is needed, but nobody has declared it. {known}".rstrip()
        else:
            what = f"has {declared} units, but the job needs {units} of them at once."
        super().__init__(
            f"Resource {resource!r} {what} Nothing was posted. Declare how many there are: "
            f"executor.resource({resource!r}, {units}) or `ostinato resources set {resource} {units}`."
        )
        self.resource = resource
        self.units = units
        self.declared = declared


class StoreError(OstinatoError):
    """Something is wrong with the store."""


class StoreUnavailable(StoreError, ConnectionError):
    """The store cannot be reached or used at the moment; trying again may help."""


class StoreCorrupt(StoreError, ValueError):
    """What the store holds cannot be read; trying again does not help."""


class NotRunning(OstinatoError, RuntimeError):
    """The executor is not started, or is stopped."""


class JobNotFound(OstinatoError, LookupError):
    """No job has this id."""


class JobEnded(OstinatoError, RuntimeError):
    """The job ended without a result.

    Attributes: ``job_id``, ``attempts`` (how many were made), ``reason`` and ``traceback``
    (the child's, as text).
    """

    def __init__(self, message: str, *, job_id: str, attempts: int, reason: str = "", traceback: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id
        self.attempts = attempts
        self.reason = reason
        self.traceback = traceback


class JobFailed(JobEnded):
    """The job failed and will not be tried again by itself."""


class StepFailed(JobFailed):
    """A function that a flow called by ``step`` raised; that is its cause, while it is not answered from the record."""


class JobCancelled(JobEnded):
    """The job was cancelled."""


class JobExpired(JobEnded):
    """The job was not started before its expiry."""


class FlowError(OstinatoError, RuntimeError):
    """A flow cannot go on as its code is. It is parked, and can be run again once the code is mended."""


class FlowChanged(FlowError):
    """The code of a flow no longer fits what is recorded of it."""


class Rejected(OstinatoError, PermissionError):
    """The person who was asked said no."""


class WaitTimeout(OstinatoError, TimeoutError):
    """What a flow waited for did not come in time."""


class AnswerError(OstinatoError, ValueError):
    """The answer does not fit the question, or there is nothing to answer."""


class LogUnavailable(OstinatoError, LookupError):
    """The log of this attempt cannot be read here and now; the message says where it is."""


class RunnerError(OstinatoError, RuntimeError):
    """An attempt's process cannot be made."""


class Interrupted(BaseException):
    """Raised inside a task when it is told to stop: cancelled, out of time, or the executor
    shuts down. Clean up and let it pass; the process is killed after the grace period."""
