"""Hook specifications: everything a plugin can add, one typed function each.

A plugin is a module or object with functions of these names marked `hookimpl`. Backends are
found by URL scheme through the entry points ``ostinato.backends`` and loaded only when a URL
names them; all other plugins through the entry points ``ostinato``, loaded when needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pluggy

from ostinato.model import Event
from ostinato.storage import LogStore, Store

if TYPE_CHECKING:
    import click

hookspec = pluggy.HookspecMarker("ostinato")
hookimpl = pluggy.HookimplMarker("ostinato")


@hookspec(firstresult=True)
def ostinato_store(url: str) -> Store | None:
    """Make the (not yet opened) store for a URL, or None if the URL is not yours.

    Raise `ostinato.errors.ConfigError` if the URL is malformed, and say which driver to install
    if it is missing.
    """


@hookspec(firstresult=True)
def ostinato_test_store(url: str, clock: Callable[[], int]) -> Store | None:
    """As `ostinato_store`, for the conformance kit: a store that asks ``clock`` for the time, in
    microseconds, and no other."""


@hookspec(firstresult=True)
def ostinato_log_store(url: str) -> LogStore | None:
    """Make the log store for a URL (``s3://bucket/prefix?endpoint=...``, a folder), or None if
    the URL is not yours. Raise `ostinato.errors.ConfigError` if it is malformed."""


@hookspec
def ostinato_event(event: Event) -> None:
    """Called with every event of an executor in this process, one after the other, on a thread of
    their own. The plugin must be registered before the executor is made."""


@hookspec
def ostinato_commands(group: click.Group) -> None:
    """Add verbs to the command ``ostinato``: ``group.add_command(...)``. Ours cannot be replaced."""
