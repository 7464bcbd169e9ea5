"""Random programs for flows: JSON, made by Hypothesis, run by a flow, and told by a plain function.

`run` and `fan` are the flows, `expected` says what comes of a program without any of them. What nobody can
know before (which came first, which number was made) stands in there as `Either`, `Unordered` and `Made`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, permutations
from typing import Any

from hypothesis import strategies as st
from msgspec import Struct

from ostinato import flow, task
from ostinato.errors import JobEnded, Rejected, WaitTimeout

Program = list[Any]

KEYS, LATER = 4, 2
"""Of events: those with a key below `LATER` are given before the flow begins, the others once all waits for them."""
made: list[object] = []
"""Every call of a step makes a number of its own; what for, in turn."""


def make(what: object) -> dict[str, Any]:
    made.append(what)
    return {"what": what, "made": len(made) - 1}


@task
def leaf(number: int) -> dict[str, Any]:
    return make(number)


@task
def fail(number: int) -> None:
    raise ValueError(number)


@task
def fan(numbers: list[int]) -> Any:
    """A generator."""
    first = flow.step("first", make, "first")
    leaves = yield [leaf.job(number) for number in numbers]
    return [first, *leaves, flow.step("last", make, "last")]


@task(flow=True)
async def run(program: Program) -> Any:
    return await _run(program, count())


async def _run(program: Program, names: Iterator[int]) -> Any:
    """``names`` are those of the local steps of one branch: others have the same."""
    op, *words = program
    if op == "local":
        name = f"local {next(names)}"
        return flow.step(name, make, "local")
    if op == "in turn":
        return [await _run(one, names) for one in words[0]]
    if op == "caught":
        return await _caught(words[0], names)
    if op == "finally":
        try:
            return await _run(words[0], names)
        finally:
            await _run(words[1], names)
    if op == "gather":
        return _shown(await flow.gather(*map(_item, words[0]), return_exceptions=words[1]))
    if op == "either":
        return (await flow.first_completed(*map(_caught_item, words[0])))[1]
    if op == "stream":
        return [value async for value in flow.as_completed(*map(_caught_item, words[0]))]
    return await _item(program)


def _item(program: Program) -> Any:
    """What can be gathered."""
    op, *words = program
    simple = {
        "leaf": leaf.job,
        "fail": fail.job,
        "fan": fan.job,
        "flow": run.job,
        "sleep": lambda: flow.sleep(0),
        "event": lambda key: flow.event("given", key),
        "never": lambda: flow.event("never"),
        "too late": lambda: flow.event("never", timeout=0),
        "ask": lambda number: flow.approve(str(number), schema=int),
    }
    return simple[op](*words) if op in simple else _run(program, count())


def _caught_item(program: Program) -> Any:
    return _item(program) if program[0] in ("leaf", "sleep", "event", "never") else _caught(program, count())


async def _caught(program: Program, names: Iterator[int]) -> Any:
    try:
        return await _run(program, names)
    except (JobEnded, Rejected, WaitTimeout) as error:
        return type(error).__name__


def _shown(values: list[Any]) -> list[Any]:
    return [type(one).__name__ if isinstance(one, Exception) else one for one in values]


# what comes of it


class Made(Struct, frozen=True):
    what: object


class Either(Struct, frozen=True):
    options: list[Any]


class Unordered(Struct, frozen=True):
    parts: list[Any]


class Raised(Exception):
    """The name of the error that a program ends with."""


def expected(program: Program) -> Any:
    """What the program comes to. Raises Raised."""
    op, *words = program
    if op == "leaf":
        return Made(words[0])
    if op == "local":
        return Made("local")
    if op == "fan":
        return [Made("first"), *map(Made, words[0]), Made("last")]
    if op in ("fail", "too late"):
        raise Raised({"fail": "JobFailed", "too late": "WaitTimeout"}[op])
    if op == "ask" and not agreed(words[0]):
        raise Raised("Rejected")
    if op == "flow":
        return _or_raise(words[0], "JobFailed")
    if op == "in turn":
        return [expected(one) for one in words[0]]
    if op == "caught":
        return _caught_of(words[0])
    if op == "finally":
        try:
            return expected(words[0])
        finally:
            expected(words[1])
    if op == "gather":
        return [(_caught_of if words[1] else expected)(one) for one in words[0]]
    if op == "either":
        return Either([_caught_of(one) for one in words[0] if one != ["never"]])
    if op == "stream":
        return Unordered([_caught_of(one) for one in words[0]])
    return words[0] if words else None


def agreed(number: int) -> bool:
    """Whether the person who is asked says this number, or no."""
    return bool(number % 3)


def _or_raise(program: Program, name: str) -> Any:
    try:
        return expected(program)
    except Raised:
        raise Raised(name) from None


def _caught_of(program: Program) -> Any:
    try:
        return expected(program)
    except Raised as raised:
        return str(raised)


def agrees(told: Any, got: Any) -> bool:
    """Whether a result is one of those that were told."""
    if isinstance(told, Made):
        return isinstance(got, dict) and got.keys() == {"what", "made"} and got["what"] == told.what
    if isinstance(told, Either):
        return any(agrees(one, got) for one in told.options)
    if isinstance(told, Unordered):
        return any(agrees(list(parts), got) for parts in permutations(told.parts))
    if isinstance(told, list):
        return isinstance(got, list) and len(got) == len(told) and all(map(agrees, told, got))
    return type(told) is type(got) and told == got


def numbers_in(value: Any) -> list[int]:
    """The numbers that were made for this value."""
    if isinstance(value, dict):
        return [value["made"]]
    return [number for part in value for number in numbers_in(part)] if isinstance(value, list) else []


# at random

_small = st.integers(0, KEYS - 1)
_simple = st.one_of(
    st.tuples(st.just("leaf"), _small).map(list),
    st.just(["local"]),
    st.tuples(st.just("fail"), _small).map(list),
    st.just(["sleep"]),
    st.tuples(st.just("event"), _small).map(list),
    st.just(["too late"]),
    st.tuples(st.just("ask"), _small).map(list),
    st.tuples(st.just("fan"), st.lists(_small, max_size=3)).map(list),
)


def _larger(inner: st.SearchStrategy[Program]) -> st.SearchStrategy[Program]:
    some = st.lists(inner, max_size=4)
    few = st.lists(inner, min_size=1, max_size=3)
    never = st.sampled_from([[], [["never"]]])
    return st.one_of(
        st.tuples(st.just("in turn"), some).map(list),
        st.tuples(st.just("gather"), some, st.booleans()).map(list),
        st.tuples(st.just("caught"), inner).map(list),
        st.tuples(st.just("finally"), inner, inner).map(list),
        st.tuples(st.just("either"), st.builds(lambda some, never: some + never, few, never)).map(list),
        st.tuples(st.just("stream"), st.lists(inner, max_size=3)).map(list),
        st.tuples(st.just("flow"), inner).map(list),
    )


programs = st.recursive(_simple, _larger, max_leaves=10)
