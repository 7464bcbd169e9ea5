"""Flows at random, cut off at random: what comes of them is what comes of the same program without flows.

``OSTINATO_TEST_FULL=1`` tries ten times as many, and others each time.
"""

from __future__ import annotations

import os
from random import Random
from typing import Any

import msgspec
import programs
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from programs import KEYS, LATER, Program, Raised, agrees, expected, numbers_in
from stumbler import Cut, Kind, Stumbler

from ostinato import replaycheck
from ostinato.answers import signal
from ostinato.clock import now
from ostinato.model import FINAL, Row
from ostinato.storage import JobQuery
from ostinato.testing.clock import FakeClock
from ostinato_memory.store import MemoryStore

FULL = bool(os.environ.get("OSTINATO_TEST_FULL"))
EXAMPLES = 2000 if FULL else 200
TURNS = 500
"""More than any of these programs needs."""

BREAKS: tuple[Kind, ...] = ("before", "after", "late", "away", "unanswered")
cuts = st.lists(st.tuples(st.integers(0, 12), st.sampled_from(BREAKS)), max_size=12)


@example(program=["in turn", [["local"], ["local"]]], cuts=[(0, "late")], seed=0)
@given(program=programs.programs, cuts=cuts, seed=st.integers(0, 999))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=not FULL)
def test_a_flow_that_is_cut_comes_to_what_it_comes_to(program: Program, cuts: list[Cut], seed: int) -> None:
    clock = FakeClock(now())
    store = MemoryStore(clock)
    stumbler = Stumbler(store, cuts, Random(seed))
    programs.made.clear()
    play(stumbler, clock, program)
    rows = {row.job.id: row for row in store.find(JobQuery(limit=10_000)).rows}
    result = judged(rows["root"], program)
    assert all(row.state in FINAL for row in rows.values() if row.job.kind != "signal")
    each_step_counts_once(rows, stumbler, result)


def play(stumbler: Stumbler, clock: FakeClock, program: Program) -> None:
    """Until there is nothing left to do."""
    store = stumbler.store
    for key in range(LATER):
        signal(store, "given", str(key), key)
    keys = list(range(LATER, KEYS))
    store.post([replace(programs.run.job(program), id="root")])
    for _ in range(TURNS):
        if stumbler.turn() or stumbler.answer(programs.agreed):
            continue
        misfits = [one for one in replaycheck.check(store) if not one.fits]
        assert not misfits
        clock.advance(60)
        if not stumbler.turn():
            if not keys:
                return
            key = keys.pop(stumbler.dice.randrange(len(keys)))
            signal(store, "given", str(key), key)
    raise AssertionError("it goes on and on")


def judged(root: Row, program: Program) -> Any:
    """What came of the flow, which must be what can come of its program."""
    raised, told, result = None, None, msgspec.json.decode(root.result or "null")
    try:
        told = expected(program)
    except Raised as error:
        raised = str(error)
    assert raised == (None if root.error is None else root.error.type), root.reason
    assert root.state == ("succeeded" if raised is None else "failed"), root.reason
    assert agrees(told, result), (told, result)
    return result


def each_step_counts_once(rows: dict[str, Row], stumbler: Stumbler, result: Any) -> None:
    """A local step is called again only if it was cut off before it was recorded; and what is used of any step
    is what is recorded of it."""
    here = [value for row in rows.values() for value in row.steps.values() if '"made"' in value]
    called = [number for number, what in enumerate(programs.made) if isinstance(what, str)]
    recorded = [msgspec.json.decode(value)["made"] for value in here]
    assert set(recorded) <= set(called)
    assert (
        len(called) - len(recorded)
        <= stumbler.suffered["before"] + stumbler.suffered["late"] + stumbler.suffered["away"]
    )
    leaves = [row for row in rows.values() if row.job.task == programs.leaf.name and row.state == "succeeded"]
    recorded += [msgspec.json.decode(row.result or "")["made"] for row in leaves]
    used = numbers_in(result)
    assert len(set(used)) == len(used)
    assert set(used) <= set(recorded)
