"""The crash sweep on every store: killed before and after the calls of the store, nothing breaks."""

from __future__ import annotations

import os
from pathlib import Path

from stores import Place, on_every_store

from ostinato.testing.checker import report
from ostinato.testing.crashes import sweep

STEP = 1 if os.environ.get("OSTINATO_TEST_FULL") else 3
"""By default every third call, before and after in turn."""


@on_every_store()
def test_a_crash_at_any_call_of_the_store_breaks_no_promise(place: Place, tmp_path: Path) -> None:
    points = sweep(place.url, tmp_path / "points", step=STEP)
    broken = [(point.number, point.side, point.verb, report(point.violations)) for point in points if point.violations]
    assert not broken, broken[0]
    assert {point.side for point in points} == {"before", "after"}
    assert len(points) >= 40 / STEP
    verbs = {point.verb for point in points}
    assert "renew" in verbs
    assert len(verbs) >= (8 if STEP == 1 else 4)
