"""From ``--url`` to an open store or executor, and from what was typed to a job's id."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ostinato import config
from ostinato.errors import ConfigError, JobNotFound, StoreUnavailable
from ostinato.ids import VALID

if TYPE_CHECKING:
    from ostinato.executor import TaskExecutor
    from ostinato.handle import JobHandle
    from ostinato.model import Row
    from ostinato.storage import Store

F = TypeVar("F", bound=Callable[..., Any])
ID_WINDOW = 200
"""A part of an id is looked for among so many of the newest jobs."""


def store_options(function: F) -> F:
    """``--url`` and ``--json``, which every verb has."""
    function = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(function)
    return click.option(
        "--url", metavar="URL", help="The store, e.g. sqlite:///jobs.db. Default: settings, then sqlite:///ostinato.db."
    )(function)


@contextmanager
def opened(url: str | None, *, create: bool = False, **settings: Any) -> Iterator[TaskExecutor]:
    """An executor that is not started, to look and to post with."""
    from ostinato.executor import TaskExecutor

    check_place(config.load({"url": url}).url, create)
    executor = TaskExecutor(url, **settings)
    try:
        yield executor
    finally:
        executor.close()


@contextmanager
def opened_store(url: str | None) -> Iterator[Store]:
    """The store itself, for verbs that look at many jobs at once."""
    from ostinato.plugins import open_store

    where = config.load({"url": url}).url
    check_place(where, create=False)
    store = open_store(where)
    store.open()
    try:
        yield store
    finally:
        store.close()


def check_place(url: str, create: bool) -> None:
    """To look at a file that is not there must not make it: a typing error would seem an empty store."""
    scheme, _, rest = url.partition("://")
    if scheme == "memory":
        raise ConfigError(
            "memory:// lives inside one process, so there is nothing to see from here. "
            "Name a store that is shared: --url sqlite:///jobs.db"
        )
    path = rest.partition("?")[0].removeprefix("/")
    if scheme == "sqlite" and path and not create and not os.path.exists(path):
        raise StoreUnavailable(
            f"There is no store {path} yet. It is made by the first `ostinato post` or `ostinato work`, or by your "
            "application; if it is elsewhere, name it: --url sqlite:///path/to/jobs.db"
        )


def find_job(executor: TaskExecutor, text: str) -> JobHandle:
    """The job of this id, or the only one among the newest whose id begins or ends so."""
    return executor.job(_whole_id(text, lambda: (job.id for job in executor.jobs(limit=ID_WINDOW))))


def find_row(store: Store, text: str) -> Row:
    """The same, as the store has it."""
    from ostinato.storage import JobQuery

    newest = JobQuery(limit=ID_WINDOW)
    job_id = _whole_id(text, lambda: (row.job.id for row in store.find(newest).rows))
    for row in store.find(JobQuery(ids=(job_id,))).rows:
        return row
    raise JobNotFound(f"There is no job {job_id!r} in this store. `ostinato jobs` lists those that are there.")


def _whole_id(text: str, newest: Callable[[], Iterable[str]]) -> str:
    given = text.upper()
    if VALID.fullmatch(given) or len(given) < 4:
        return given
    found = [job_id for job_id in newest() if job_id.endswith(given) or job_id.startswith(given)]
    if not found:
        raise JobNotFound(
            f"No job among the newest {ID_WINDOW} has an id that begins or ends with {text!r}. "
            "Give the whole id; `ostinato jobs` lists them."
        )
    if len(found) > 1:
        raise ConfigError(f"{text!r} fits {len(found)} jobs: {', '.join(found[:5])}. Give more of it.")
    return found[0]
