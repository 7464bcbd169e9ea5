"""``@task``: functions that can be posted as jobs, and the registry of them."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

import msgspec

from ostinato.codec import encode_args, make_decoder, text_of
from ostinato.errors import ArgumentError, ConfigError, PayloadError, TaskError, UnknownTask
from ostinato.model import Job, Policy
from ostinato.names import check_name, suggest
from ostinato.options import TASK_OPTIONS, PolicyOptions, task_fields

if TYPE_CHECKING:
    from typing_extensions import Unpack

P = ParamSpec("P")
R = TypeVar("R")

Upgrade = Callable[[dict[str, Any]], dict[str, Any]]

MAIN_ALIAS = "__ostinato_main__"
"""The module name under which the application's main file is loaded in the fork server."""


class Ref(msgspec.Struct, frozen=True):
    """Where a task's function is found again: a module name, or the path of a main file."""

    module: str
    path: str | None = None


class TaskOptions(PolicyOptions, total=False):
    """All that ``@task`` takes besides ``name``, ``version``, ``upgrade`` and ``retry_on``."""

    queue: str
    priority: str | int
    slots: int
    resources: Mapping[str, int]


class Task(Generic[P, R]):
    """A registered function: still callable as it was, and able to make jobs of itself."""

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        version: int = 1,
        upgrade: Mapping[int, Upgrade] | None = None,
        retry_on: tuple[type[BaseException], ...] = (Exception,),
        flow: bool = False,
        **options: Unpack[TaskOptions],
    ) -> None:
        _check_function(function)
        self.function = function
        self.is_flow = flow or inspect.isgeneratorfunction(function)
        self.ref = _ref(function)
        self.name = check_name("task", name or f"{self.ref.module}.{function.__qualname__}")
        self.retry_on = _check_retry_on(retry_on)
        self.is_async = inspect.iscoroutinefunction(function)
        self.version = version
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            raise ConfigError(f"version={version!r} of task {self.name!r}: give a whole number from 1 up.")
        self._upgrade = _check_upgrade(self.name, version, upgrade or {})
        fields = task_fields(options)
        if flow and not (self.is_async or inspect.isgeneratorfunction(function)):
            raise TaskError(
                f'Task {self.name!r} is to be a flow, but can wait for nothing: write "async def" or yield.'
            )
        if fields["policy"].runner == "asyncio" and self.is_flow:
            raise TaskError(f'Task {self.name!r} is a flow, which runner="asyncio" cannot run: leave it out.')
        if fields["policy"].runner == "asyncio" and not self.is_async:
            raise TaskError(f'Task {self.name!r} has runner="asyncio" but is no coroutine: write "async def".')
        self.policy: Policy = fields["policy"]
        self._signature = inspect.signature(function)
        parameters = self._signature.parameters.values()
        self._in_place = all(one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for one in parameters)
        self._least = sum(one.default is inspect.Parameter.empty for one in parameters)
        self._blank = Job(task=self.name, version=version, **fields)
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    def job(self, *args: P.args, **kwargs: P.kwargs) -> Job:
        """A job that calls this function with these arguments.

        Raises ArgumentError if they do not fit the signature and its type hints, PayloadError
        if JSON cannot hold them.
        """
        if not (args or kwargs or self._least):
            return self._blank
        bound = self._bound(args, kwargs)
        text = encode_args(bound, self.name)
        self._check(bound, text)
        return msgspec.structs.replace(self._blank, args=text)

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by name. Those that are given by their places are most, and need no search."""
        parameters = self._signature.parameters
        if self._in_place and not kwargs and self._least <= len(args) <= len(parameters):
            return dict(zip(parameters, args, strict=False))
        try:
            return self._signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise ArgumentError(f"Cannot post {self.name!r}: {error}. It is {self.name}{self._signature}.") from None

    def _check(self, given: dict[str, Any], text: str) -> None:
        try:
            arrived = self._decoder.decode(text)
        except msgspec.ValidationError as error:
            raise ArgumentError(
                f"Cannot post {self.name!r}: {error}. Arguments must fit the type hints: {self.name}{self._signature}."
            ) from None
        for name, value in given.items():
            found = getattr(arrived, name)
            if self._signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
                value = list(value)
            odd = found != value or _changes_type(value) if name in self._untyped else _is_flattened(found, value)
            if odd:
                raise PayloadError(
                    f"Cannot post {self.name!r}: argument {name}={text_of(value)} would arrive as "
                    f"{text_of(found)}. Give the parameter a type hint that says what it is, or pass what JSON has."
                )

    def arguments(self, text: str, version: int | None = None) -> tuple[list[Any], dict[str, Any]]:
        """The stored arguments, typed, to call the function with; those of an older ``version`` are
        upgraded first. Raises ArgumentError if they no longer fit its signature."""
        if version is not None and version < self.version and self._upgrade:
            text = self._upgraded(text, version)
        try:
            arrived = self._decoder.decode(text)
        except msgspec.MsgspecError as error:
            raise ArgumentError(
                f"The stored arguments of task {self.name!r} no longer fit its signature "
                f"{self.name}{self._signature}: {error}. They were: {text[:500]}"
            ) from None
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        gap = False  # after an argument that was left out, only names tell the others apart
        for name, parameter in self._signature.parameters.items():
            value = getattr(arrived, name)
            if value is msgspec.UNSET:
                gap = True
            elif parameter.kind is parameter.VAR_POSITIONAL:
                args.extend(value)
            elif parameter.kind is parameter.VAR_KEYWORD:
                kwargs.update(value)
            elif gap or parameter.kind is parameter.KEYWORD_ONLY:
                kwargs[name] = value
            else:
                args.append(value)
        return args, kwargs

    def _upgraded(self, text: str, version: int) -> str:
        args = msgspec.json.decode(text)
        for number in range(version, self.version):
            if number in self._upgrade:
                args = self._upgrade[number](args)
                if not isinstance(args, dict):
                    raise ArgumentError(
                        f"The upgrade of task {self.name!r} from version {number} returned {text_of(args)}. "
                        "It gets the arguments by name as a dict, and returns those of the next version so."
                    )
        return encode_args(args, self.name)

    @functools.cached_property
    def _hints(self) -> dict[str, Any]:
        try:
            hints = typing.get_type_hints(self.function, include_extras=True)
            return {name: Any if _is_anything(hint) else hint for name, hint in hints.items()}
        except Exception as error:
            raise TaskError(
                f"The type hints of task {self.name!r} cannot be read: {error}. Import what they name at module level."
            ) from error

    @functools.cached_property
    def _untyped(self) -> frozenset[str]:
        return frozenset(name for name in self._signature.parameters if self._hints.get(name, Any) is Any)

    @functools.cached_property
    def _decoder(self) -> msgspec.json.Decoder[Any]:
        fields: list[tuple[str, Any, Any]] = []
        for name, parameter in self._signature.parameters.items():
            hint = self._hints.get(name, Any)
            if parameter.kind is parameter.VAR_POSITIONAL:
                hint = types.GenericAlias(list, (hint,))
            elif parameter.kind is parameter.VAR_KEYWORD:
                hint = types.GenericAlias(dict, (str, hint))
            elif parameter.default is parameter.empty:
                fields.append((name, hint, msgspec.NODEFAULT))
                continue
            fields.append((name, hint | msgspec.UnsetType if hint is not Any else Any, msgspec.UNSET))
        try:
            shape = msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True)
            return make_decoder(shape)
        except TypeError as error:
            raise TaskError(
                f"Task {self.name!r} has a type hint that JSON cannot carry: {error}. "
                "Use plain types, dataclasses, or a path or key to the thing."
            ) from error

    @functools.cached_property
    def _result_decoder(self) -> msgspec.json.Decoder[Any]:
        return make_decoder(self._hints.get("return", Any))

    def prepare(self) -> None:
        """Do ahead what the first call would do: in the fork server, before it forks. What is
        wrong will be told by the attempt."""
        with suppress(TaskError):
            _ = self._decoder

    def result(self, text: str) -> Any:
        """A stored result as the type that the function says it returns, if that is possible."""
        try:
            return self._result_decoder.decode(text)
        except (msgspec.MsgspecError, TypeError, ValueError):
            return msgspec.json.decode(text)


def _is_anything(hint: Any) -> bool:
    """``object``, also where a default of None made it ``Optional[object]`` (Python 3.10)."""
    return hint is object or (typing.get_origin(hint) is typing.Union and object in typing.get_args(hint))


def _changes_type(value: Any) -> bool:
    """Equal to what arrives and yet another type: 1 for True, or text of a subclass."""
    return isinstance(value, (list, dict, str, int, float)) and type(value).__module__ != "builtins"


def _is_flattened(found: Any, given: Any) -> bool:
    """Whether it, or a part of it, was something else and arrives as mere text or number: bytes
    given for a ``str``. What the hint makes of it otherwise is wanted: a list of a tuple."""
    if found == given:
        return False
    if isinstance(found, (list, tuple)) and isinstance(given, (list, tuple)):
        return any(map(_is_flattened, found, given))
    if isinstance(found, dict) and isinstance(given, dict):
        return any(map(_is_flattened, [*found, *found.values()], [*given, *given.values()]))
    return isinstance(found, (str, int, float))


def _check_function(function: Any) -> None:
    name = getattr(function, "__qualname__", repr(function))
    if not inspect.isfunction(function):
        raise TaskError(f"@task goes on a function defined with def, not on {function!r}.")
    if "<lambda>" in name or "<locals>" in name:
        what = "a lambda" if "<lambda>" in name else "defined inside another function"
        raise TaskError(
            f"{name} cannot be a task: it is {what}, so no other process can find it. "
            "Define it with def at the top level of a module."
        )
    if inspect.isasyncgenfunction(function):
        raise TaskError(f"{name} cannot be a task: it is an async generator. Await what it is to wait for.")


def _check_upgrade(name: str, version: int, upgrade: Any) -> dict[int, Upgrade]:
    if not isinstance(upgrade, Mapping) or not all(callable(function) for function in upgrade.values()):
        raise ConfigError(
            f"upgrade={upgrade!r} of task {name!r}: give functions by version, such as {{1: from_1_to_2}}."
        )
    for number in upgrade:
        if number not in range(1, version):
            raise ConfigError(
                f"Task {name!r} has version {version}, so there is nothing to upgrade from version {number!r}. "
                "The key is the version that the arguments have before."
            )
    return dict(upgrade)


def _check_retry_on(kinds: Any) -> tuple[type[BaseException], ...]:
    given: tuple[type[BaseException], ...] = kinds if isinstance(kinds, tuple) else (kinds,)
    if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in given):
        raise ConfigError(f"retry_on={kinds!r}: give exception classes, such as (OSError, TimeoutError).")
    return given


def _ref(function: Callable[..., Any]) -> Ref:
    module = function.__module__
    if module not in ("__main__", MAIN_ALIAS):
        return Ref(module)
    main = sys.modules.get(module)
    spec = getattr(main, "__spec__", None)
    if module == "__main__" and spec is not None:  # python -m package.module
        return Ref(spec.name)
    path = function.__code__.co_filename
    if not os.path.isfile(path):
        return Ref("__main__")
    return Ref(os.path.splitext(os.path.basename(path))[0], os.path.abspath(path))


registry: dict[str, Task[..., Any]] = {}
"""All tasks of this process by name. The only mutable state of the module level."""


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(
    *,
    name: str | None = None,
    version: int = 1,
    upgrade: Mapping[int, Upgrade] | None = None,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = (Exception,),
    flow: bool = False,
    **options: Unpack[TaskOptions],
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(function: Any = None, /, **options: Any) -> Any:
    """Register a function as a task, with its policy.

    ``name`` defaults to ``module.function``; ``version`` rises when the arguments of newer jobs no
    longer fit older code, whose executors then leave them alone; ``upgrade`` maps older versions to
    functions that turn their arguments (a dict) into those of the next version; ``retry_on`` are
    the exceptions worth another attempt; ``flow`` makes a coroutine a flow (a generator is one by itself): see
    `ostinato.flow`. All others are options of the job, see `TaskOptions`.
    Raises TaskError or ConfigError.
    """
    if function is not None:
        return _register(Task(function))
    _check_options(options)
    return lambda function: _register(Task(function, **options))


def _check_options(options: dict[str, Any]) -> None:
    allowed = TASK_OPTIONS | {"name", "version", "upgrade", "retry_on", "flow"}
    for name in options:
        if name not in allowed:
            raise ConfigError(f"@task has no option {name!r}. {suggest(name, allowed)}")


def _register(new: Task[P, R]) -> Task[P, R]:
    known = registry.get(new.name)
    if known is not None and _is_other(known.function, new.function):
        raise TaskError(
            f"Two functions want to be task {new.name!r}: {_place(known)} and {_place(new)}. "
            "Give one of them another name: @task(name=...)."
        )
    registry[new.name] = new
    return new


def _is_other(known: Any, new: Any) -> bool:
    """A module that is loaded again, under its own name or as main file, brings the same functions."""
    if known.__code__ == new.__code__:
        return False
    return bool(_ref(known) != _ref(new) or known.__qualname__ != new.__qualname__)


def _place(one: Task[..., Any]) -> str:
    return f"{one.ref.module}.{one.function.__qualname__}"


def find_task(name: str, refs: Iterable[str] = ()) -> Task[..., Any]:
    """The task of this name. Raises UnknownTask, with the closest known name."""
    try:
        return registry[name]
    except KeyError:
        raise UnknownTask(
            f"No task {name!r} is registered in this process. {suggest(name, registry)} "
            "Import the module that defines it."
        ) from None
