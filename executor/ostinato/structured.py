"""structlog rendered as pino lines into the attempt's log.

structlog takes 79 ms and 17 MB to import, so nobody pays for it who does not use it: in a
child process a small import hook configures it right after user code imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import lru_cache
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from ostinato import pino
from ostinato.sink import PROCESS, current

if TYPE_CHECKING:
    from importlib.abc import Loader


class Written:
    """What structlog wraps: takes finished records and writes them to the current log."""

    def __init__(self, name: str | None = None, *_more: object) -> None:
        self.name = name

    def msg(self, level: int, msg: object, fields: Mapping[str, object]) -> None:
        (current.get() or PROCESS).emit(level, msg, fields, self.name)

    trace = debug = info = warn = warning = err = error = exception = critical = fatal = failure = log = msg


def render(logger: object, method: str, event: MutableMapping[str, Any]) -> tuple[tuple[object, ...], dict[str, Any]]:
    """The last processor: an event of structlog as level, message and fields of `Written`."""
    msg = event.pop("event", "")
    level = pino.LEVELS.get(str(event.pop("level", method)), pino.INFO)
    cause = _cause(event.pop("exc_info", method == "exception"))
    fields = dict(event)
    if cause is not None:
        if "err" in fields:
            fields["err_"] = fields.pop("err")
        fields = {"err": pino.error_of(cause), **fields}
    return (level, msg, fields), {}


def _cause(given: object) -> BaseException | None:
    if isinstance(given, BaseException):
        return given
    if isinstance(given, tuple) and len(given) == 3:
        return given[1] if isinstance(given[1], BaseException) else None
    return sys.exc_info()[1] if given else None


def configure(structlog: Any) -> None:
    """Make pino lines structlog's default. User code that configures it later has the last word."""
    if not structlog.is_configured():
        structlog.configure(
            processors=[structlog.contextvars.merge_contextvars, structlog.processors.StackInfoRenderer(), render],
            logger_factory=_written,
        )


def _written(*args: object) -> Written:
    return Written(args[0] if args and isinstance(args[0], str) else None)


def configure_when_imported() -> None:
    """Configure structlog now if it is there, else as soon as it is imported."""
    if "structlog" in sys.modules:
        configure(sys.modules["structlog"])
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Lets the other finders find structlog, and puts a loader around theirs."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "structlog":
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(fullname, path, target) if find else None
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = cast("Loader", _Loader(spec.loader))
                return spec
        return None


class _Loader:
    """Loads as the real loader does, then configures, and leaves no trace in the module."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._real.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._real
        if module.__spec__ is not None:
            module.__spec__.loader = self._real
        self._real.exec_module(module)
        try:
            configure(module)
        except Exception:  # a structlog of another shape: its output still is captured as text
            return

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@lru_cache(maxsize=1)
def _maker() -> Callable[[], Any]:
    import structlog

    processors: list[Any] = [structlog.contextvars.merge_contextvars, structlog.processors.StackInfoRenderer(), render]
    wrapper = structlog.make_filtering_bound_logger(0)
    return lambda: structlog.wrap_logger(Written(), processors=processors, wrapper_class=wrapper, context_class=dict)


def bound_logger(bindings: Mapping[str, object] | None = None) -> Any:
    """A structlog logger whose records go to the log of the current attempt, whatever the
    host has configured; for ``current_job().log``."""
    return _maker()().bind(**(bindings or {}))
