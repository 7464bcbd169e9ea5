"""Flows for tests. Importable under this name by the processes of attempts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

import msgspec
from chores import block, tell

from ostinato import JobFailed, current_job, flow, task


@task
def double(number: int) -> int:
    return 2 * number


@task
def note(ledger: str, text: str) -> str:
    with open(ledger, "a") as file:
        file.write(f"{text}\n")
    return text


@task
def fail(reason: str) -> None:
    raise ValueError(reason)


@task
def wait_for(fifo: str) -> str:
    with open(fifo) as file:
        return file.read().strip()


@task
def total(numbers: list[int]) -> Any:
    """A generator: fans out, and folds."""
    doubled = yield [double.job(number) for number in numbers]
    return sum(doubled)


@task
def in_turn(count: int) -> Any:
    number = 1
    for _ in range(count):
        number = yield double.job(number)
    return number


@task(flow=True)
async def caught(reason: str) -> str:
    try:
        await fail.job(reason)
    except JobFailed as error:
        return error.reason
    return "not raised"


@task(flow=True)
async def uncaught(reason: str) -> None:
    await fail.job(reason)


@task(flow=True)
async def nested(numbers: list[int]) -> int:
    first, second = await flow.gather(total.job(numbers), total.job(numbers))
    return int(first + second)


async def _chain(number: int, length: int) -> int:
    for _ in range(length):
        number = await double.job(number)
    return number


@task(flow=True)
async def side_by_side(lengths: list[int]) -> list[int]:
    """Coroutines of the flow's own, whose steps have the same names."""
    return list(await flow.gather(*(_chain(1, length) for length in lengths)))


@task(flow=True)
async def quickest(fifo: str) -> Any:
    at, value = await flow.first_completed(wait_for.job(fifo), double.job(4))
    return [at, value]


@task(flow=True)
async def streamed(numbers: list[int]) -> list[int]:
    return [value async for value in flow.as_completed(*(double.job(number) for number in numbers))]


@task
def stepped(ledger: str, attempts: int) -> Any:
    """A plain job with steps; fails until its last attempt."""
    first = current_job().step("first", note.function, ledger, "first")
    if current_job().attempt < attempts:
        raise ValueError("not yet")
    return [first, current_job().step("second", note.function, ledger, "second")]


@task
def flow_with_steps(ledger: str) -> Any:
    before = flow.step("before", note.function, ledger, "before")
    middle = yield note.job(ledger, "middle")
    after = flow.step("after", note.function, ledger, "after")
    return [before, middle, after]


@task(flow=True)
async def tidy(ledger: str) -> Any:
    try:
        return await double.job(2)
    finally:
        flow.step("swept", note.function, ledger, "swept")
        await note.job(ledger, "dusted")


@task(flow=True)
async def interruptible(fifo: str, ledger: str) -> Any:
    try:
        return flow.step("first", hang_at_first, fifo, ledger)
    finally:
        flow.step("swept", note.function, ledger, "swept")


def hang_at_first(fifo: str, ledger: str) -> int:
    note.function(ledger, "first")
    if current_job().attempt == 1:
        tell(fifo, "begun")
        block()
    return current_job().attempt


@task
def sleeper(seconds: float) -> Any:
    yield flow.sleep(timedelta(seconds=seconds))
    return "awake"


@task(flow=True)
async def paid(number: int, timeout: float | None) -> Any:
    try:
        return await flow.event("paid", number, timeout=timeout)
    except flow.WaitTimeout:
        return "too late"


class Verdict(msgspec.Struct):
    grade: Literal["good", "bad"]
    points: int = 0


@task(flow=True)
async def judged(timeout: float | None = None, default: int | None = None) -> Any:
    given = None if default is None else Verdict("bad", default)
    try:
        verdict = await flow.approve("Good?", schema=Verdict, assignee="kim", timeout=timeout, default=given)
    except flow.Rejected as error:
        return str(error)
    except flow.WaitTimeout:
        return "nobody"
    return [verdict.grade, verdict.points, type(verdict).__name__]


@task
def placed() -> Any:
    value = yield flow.run(double.job(2), queue="elsewhere", tags=["mine"], runner="thread")
    return value


@task
def too_large(size: int) -> Any:
    yield note.job("/dev/null", "x" * size)


@task
def wrong() -> Any:
    yield 42


@task
def twice() -> Any:
    flow.step("same", int)
    flow.step("same", int)
    yield flow.sleep(0)


CODE = "old"
"""Which release of the code of `changing` this is."""


@task(runner="thread")
def changing() -> Any:
    if CODE == "guarded" and flow.versioned("second"):
        value = yield double.job(100)
    elif CODE == "other":
        value = yield note.job("/dev/null", "x")
    elif CODE == "short":
        return "ended"
    else:
        value = yield double.job(1)
    answer = yield flow.event("go")
    return [value, answer]


@task
def once_mended(path: str, ledger: str) -> str:
    note.function(ledger, "tried")
    with open(path) as file:
        return file.read()


@task(flow=True)
async def mendable(path: str, ledger: str) -> Any:
    """Fails as long as there is no such file."""
    before = await note.job(ledger, "before")
    return [before, await once_mended.job(path, ledger)]


@task(flow=True)
async def flow_of_mendable(path: str, ledger: str) -> Any:
    return await flow.gather(mendable.job(path, ledger), flow.sleep(0.5))


async def _opened(path: str, ledger: str) -> Any:
    return await once_mended.job(path, ledger)


@task(flow=True)
async def mendable_beside_others(path: str, ledger: str) -> Any:
    return await flow.gather(_opened(path, ledger), flow.event("go"))


@task(runner="thread", flow=True)
async def gathering() -> Any:
    if CODE == "alone":
        await _chain(1, 1)
    elif CODE != "short":
        await flow.gather(_chain(1, 1), _chain(1, 1))
    return None if CODE == "short" else await flow.event("go")


@task(flow=True)
async def with_fallback(path: str, ledger: str) -> Any:
    """Goes another way without the file, and comes to its end only with it."""
    try:
        return await once_mended.job(path, ledger)
    except JobFailed:
        await note.job(ledger, "another way")
    return await once_mended.job(path, ledger)


@task
def stepping(ledger: str) -> Any:
    """Calls a step that earlier releases of it did not have."""
    value = yield double.job(1)
    if CODE == "further":
        flow.step("new", note.function, ledger, "called")
    elif CODE == "broken":
        raise LookupError(value)
    answer = yield flow.event("go")
    return [value, answer]


@task(flow=True)
async def asking() -> Any:
    return await flow.approve("A number?", schema=int)


def charge(ledger: str, card: str) -> str:
    note.function(ledger, f"charge {card}")
    if card == "stolen":
        raise ValueError("no such card")
    return card


@task(flow=True)
async def compensated(ledger: str) -> Any:
    """Calls a step that raises, and goes on; from then on it has raised that for good."""
    try:
        flow.step("charge", charge, ledger, "stolen")
    except flow.StepFailed as error:
        flow.step("give back", note.function, ledger, "give back")
        told = await flow.event("go")
        return [error.reason, told]
    return "charged"


@task(flow=True, retry_on=(LookupError,), max_attempts=2, backoff=0)
async def calls_what_raises(ledger: str) -> None:
    flow.step("look", look_up, ledger)


def look_up(ledger: str) -> None:
    note.function(ledger, "looked")
    raise KeyError("nothing there")


@task(flow=True)
async def hasty(number: int) -> Any:
    return await flow.event("late", number, timeout=0.01)


@task(flow=True)
async def named_like_records() -> list[str]:
    """Steps with names such as the flow's own records have."""
    await flow.first_completed(double.job(1), double.job(2))
    flow.versioned("new")
    names = ["first#1", "version:new", "event:go/#1", "survived#1"]
    called = [flow.step(name, str, name) for name in names]
    await flow.event("go")
    return called
