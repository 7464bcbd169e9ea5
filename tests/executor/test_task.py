"""`@task`: what may become a task, and which arguments it takes."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Literal

import chores
import pytest

from ostinato import ArgumentError, ConfigError, PayloadError, TaskError, task
from ostinato.errors import UnknownTask
from ostinato.task import Task, find_task, registry


class Color(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: int = 0


def every_kind(a, b=2, /, c=3, *rest, d, e=5, **more):
    return a, b, c, rest, d, e, more


def typed(n: int, text: str = "", *, when: datetime | None = None, at: Point | None = None) -> Point:
    return Point(n)


def variadic(*numbers: int, **names: str) -> None: ...


def literal(
    mode: Literal["fast", "slow"], color: Color = Color.RED, ids: dict[int, uuid.UUID] | None = None
) -> None: ...


def untyped(value, other=None) -> None: ...


def anything_goes(value: Any, thing: object = None) -> None: ...


def texts(text: str, many: list[str] = []) -> None: ...


def callback(then: Callable[[], None]) -> None: ...


def unknown_hint(x: Nowhere) -> None: ...  # noqa: F821


def call(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Through the store's text and back into the function."""
    one = Task(function, name="t")
    positional, named = one.arguments(one.job(*args, **kwargs).args)
    return function(*positional, **named)


def bound(function: Any, *args: Any, **kwargs: Any) -> Any:
    one = Task(function, name="t")
    return one.arguments(one.job(*args, **kwargs).args)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((1,), {"d": 4}), ((1, 9), {"d": 4}), ((1, 2, 3, 4, 5), {"d": 0, "e": 6, "z": 7}),
     ((1,), {"c": 8, "d": 4, "a": 9})],
)  # fmt: skip
def test_every_kind_of_parameter_arrives_as_it_was_given(args, kwargs):
    assert call(every_kind, *args, **kwargs) == every_kind(*args, **kwargs)


def test_typed_arguments_arrive_typed():
    at = datetime(2030, 1, 1, tzinfo=timezone.utc)
    assert bound(typed, 1, when=at, at=Point(1, 2)) == ([1], {"when": at, "at": Point(1, 2)})
    key = uuid.uuid4()
    assert bound(literal, "fast", Color.RED, {1: key}) == (["fast", Color.RED, {1: key}], {})
    assert bound(variadic, 1, 2, a="b") == ([1, 2], {"a": "b"})


def test_a_default_that_was_left_out_is_that_of_the_code_that_runs():
    def old(n, width=1):
        return width

    def new(n, width=2):
        return width

    old.__qualname__ = new.__qualname__ = "resize"
    positional, named = Task(new, name="t").arguments(Task(old, name="t").job(0).args)
    assert new(*positional, **named) == 2
    positional, named = Task(new, name="t").arguments(Task(old, name="t").job(0, width=1).args)
    assert new(*positional, **named) == 1


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "said"),
    [
        (typed, (), {}, "missing a required argument: 'n'"),
        (typed, (1, "a", 3), {}, "too many positional arguments"),
        (typed, (1,), {"widht": 3}, "unexpected keyword argument 'widht'"),
        (typed, ("1",), {}, "Expected `int`, got `str`"),
        (typed, (1.5,), {}, "Expected `int`"),
        (typed, (True,), {}, "Expected `int`, got `bool`"),
        (typed, (1, None), {}, "Expected `str`, got `null`"),
        (variadic, (1, "x"), {}, "Expected `int`"),
        (variadic, (), {"a": 1}, "Expected `str`"),
        (literal, ("faster",), {}, "Invalid enum value 'faster'"),
        (every_kind, (), {"d": 1}, "missing a required"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_the_signature(function, args, kwargs, said):
    with pytest.raises(ArgumentError) as caught:
        Task(function, name="pic.resize").job(*args, **kwargs)
    assert said in str(caught.value)
    assert "pic.resize(" in str(caught.value)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    "value",
    [(1, 2), {1: "a"}, b"bytes", {1, 2}, Point(1), Color.RED, Decimal(1), uuid.uuid4(), datetime(2030, 1, 1), [(1,)]],
    ids=lambda value: type(value).__name__,
)
def test_an_untyped_argument_that_would_arrive_as_something_else_is_refused(value):
    with pytest.raises(PayloadError, match="type hint"):
        Task(untyped, name="t").job(value)
    with pytest.raises(PayloadError, match="type hint"):
        Task(anything_goes, name="t").job(value)


@pytest.mark.parametrize(
    "value",
    [b"bytes", Color.RED, Decimal("1.5"), uuid.UUID(int=1), datetime(2030, 1, 1)],
    ids=lambda v: type(v).__name__,
)
def test_what_is_no_text_does_not_arrive_as_text(value):
    with pytest.raises((ArgumentError, PayloadError)):
        Task(texts, name="t").job(value)
    with pytest.raises((ArgumentError, PayloadError)):
        Task(texts, name="t").job("", [value])


def test_a_tuple_for_a_list_and_a_dict_for_a_dataclass_are_welcome():
    assert bound(texts, "", ("a", "b")) == (["", ["a", "b"]], {})
    assert bound(typed, 1, at={"x": 1}) == ([1], {"at": Point(1)})


def test_an_object_is_anything():
    assert bound(anything_goes, [1, {"a": None}], "x") == ([[1, {"a": None}], "x"], {})


class EvilPoint(Point):
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def test_a_refused_value_without_a_repr_is_refused_all_the_same():
    with pytest.raises(PayloadError):
        Task(untyped, name="t").job(EvilPoint(1))


def test_stored_arguments_that_no_longer_fit_are_told_with_what_they_were():
    with pytest.raises(ArgumentError, match=r"no longer fit its signature.*They were: \{\"old\":1\}"):
        Task(typed, name="t").arguments('{"old":1}')
    with pytest.raises(ArgumentError):
        Task(typed, name="t").arguments("not json")


def test_hints_that_json_cannot_carry_are_told_at_the_first_use():
    with pytest.raises(TaskError, match="Import what they name at module level"):
        Task(unknown_hint, name="t").job(1)
    with pytest.raises(ArgumentError, match="a Callable cannot be made from JSON"):
        Task(callback, name="t").job(1)


async def async_generator():
    yield 1


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (lambda: 0, "lambda"),
        (async_generator, "async generator"),
        (print, "defined with def"),
        (Point, "defined with def"),
        (5, "defined with def"),
        (Point(1).__eq__, "defined with def"),
    ],
)
def test_what_no_other_process_can_find_cannot_be_a_task(thing, said):
    with pytest.raises(TaskError, match=said):
        task(thing)


def test_a_nested_function_cannot_be_a_task():
    def inner() -> None: ...

    with pytest.raises(TaskError, match="inside another function"):
        task(inner)


def test_two_functions_cannot_share_a_name():
    taken = {}
    exec("def one(): ...\ndef two(): return 2", {"__name__": "elsewhere"}, taken)
    try:
        task(name="shared.name")(taken["one"])
        with pytest.raises(TaskError, match=r"Two functions want to be task 'shared.name'"):
            task(name="shared.name")(taken["two"])
        with pytest.raises(TaskError, match="Two functions"):
            task(name="shared.name")(typed)
    finally:
        del registry["shared.name"]


def test_a_module_that_is_loaded_again_replaces_its_tasks():
    try:
        for _ in range(2):
            names: dict[str, Any] = {}
            exec(compile("def one(): ...", "elsewhere.py", "exec"), {"__name__": "elsewhere"}, names)
            new = task(name="reloaded.name")(names["one"])
        assert registry["reloaded.name"] is new
    finally:
        del registry["reloaded.name"]


def test_a_task_is_still_the_function_that_it_was():
    assert chores.add(1, 2) == 3
    assert chores.add.__name__ == "add"
    assert chores.add.__doc__ == "The sum."
    assert repr(chores.add) == "<Task chores.add>"
    assert find_task("chores.add") is chores.add
    with pytest.raises(UnknownTask, match=r"Did you mean 'chores\.add'"):
        find_task("chores.addd")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pirority": 1}, "Did you mean 'priority'"),
        ({"timeout": "soon"}, "timeout='soon'"),
        ({"version": 0}, "version=0"),
        ({"version": "2"}, "version='2'"),
        ({"name": "a b"}, "task name 'a b'"),
        ({"retry_on": "OSError"}, "retry_on='OSError'"),
        ({"retry_on": [OSError]}, "retry_on="),
        ({"delay": 5}, "no option 'delay'"),
    ],
)
def test_a_wrong_option_of_a_task_is_one_clear_error(options, said):
    with pytest.raises(ConfigError) as caught:
        task(**options)(typed)
    assert said in str(caught.value)
    assert not any(one.function is typed for one in registry.values())


def test_asyncio_tasks_are_coroutines():
    with pytest.raises(TaskError, match="async def"):
        task(runner="asyncio")(typed)


def test_a_result_comes_back_as_the_type_that_is_promised_if_it_can():
    one = Task(typed, name="t")
    assert one.result('{"x":1,"y":2}') == Point(1, 2)
    assert one.result('"something else"') == "something else"
    assert Task(untyped, name="t").result("[1]") == [1]
