"""A store with a fault in front of it: every call of its verbs goes through a function of the test.

    with faulty(lambda verb, call: call()): ...     # all is as ever
    with faulty(down): ...                          # def down(verb, call): raise StoreUnavailable(...)
    with faulty(swallow): ...                       # def swallow(verb, call): call(); raise StoreUnavailable(...)

Stores that are made inside the block by their URL are faulty, whatever their backend.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, cast

from ostinato.hooks import hookimpl
from ostinato.plugins import manager
from ostinato.storage import PostsAndClaims, PostsWithin, Store, TellsPaces

Fault = Callable[[str, Callable[[], Any]], Any]
"""Given the verb's name and the call itself, which it makes, or does not, or makes and forgets."""

VERBS = tuple(
    verb
    for part in (Store, PostsAndClaims, PostsWithin, TellsPaces)
    for verb in vars(part)
    if not verb.startswith("_") and verb not in ("open", "close", "listen")
)
"""What may go to the store and back. Listeners are left alone, and so is opening."""


def behind(store: Store, fault: Fault) -> Store:
    """The store behind a fault. It has just the verbs that the store has."""

    def guarded(verb: str) -> Callable[..., Any]:
        method = getattr(store, verb)
        return lambda _self, *args: fault(verb, lambda: method(*args))

    def __getattr__(_self: object, name: str) -> Any:  # noqa: N807 - it becomes one
        return getattr(store, name)

    verbs = {verb: guarded(verb) for verb in VERBS if hasattr(store, verb)}
    return cast("Store", type("FaultyStore", (), {**verbs, "__getattr__": __getattr__})())


@contextmanager
def faulty(fault: Fault) -> Iterator[None]:
    """While this lasts, every store that is made is put behind the fault, and stays there."""

    class Plugin:
        @hookimpl(wrapper=True)
        def ostinato_store(self) -> Generator[None, Store | None, Store | None]:
            store = yield
            return None if store is None else behind(store, fault)

    plugin = Plugin()
    manager().register(plugin)
    try:
        yield
    finally:
        manager().unregister(plugin)
