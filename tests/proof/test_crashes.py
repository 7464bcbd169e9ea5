"""The crash sweep on every store: killed before and after the calls of the store, nothing breaks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from stores import Place, on_every_store

from ostinato.testing.checker import report
from ostinato.testing.crashes import sweep
from ostinato.testing.scenarios import SCENARIOS

FULL = bool(os.environ.get("OSTINATO_TEST_FULL"))
STEP = {name: 1 if FULL else 5 if name == "jobs" else 9 for name in SCENARIOS}
"""By default every fifth or ninth call, before and after in turn."""


@pytest.mark.parametrize("scenario", SCENARIOS)
@on_every_store()
def test_a_crash_at_any_call_of_the_store_breaks_no_promise(place: Place, tmp_path: Path, scenario: str) -> None:
    url = place.url.replace("{name}", f"{scenario}{{name}}")
    points = sweep(url, tmp_path / "points", step=STEP[scenario], scenario=scenario)
    broken = [(point.number, point.side, point.verb, report(point.violations)) for point in points if point.violations]
    assert not broken, broken[0]
    assert {point.side for point in points} == {"before", "after"}
    assert len(points) >= 40 / STEP[scenario]
    verbs = {point.verb for point in points}
    assert "renew" in verbs
    assert len(verbs) >= (8 if FULL else 2)  # which of them every ninth call is, is chance
