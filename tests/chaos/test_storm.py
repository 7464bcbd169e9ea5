"""Storms on every store: kill -9, SIGSTOP past the lease, servers that die; and the checker finds nothing.

``OSTINATO_TEST_FULL=1`` makes them 2,000 jobs on four executors instead of 120 on three.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from stores import Place, on_every_store
from storm import LEASE, Storm

from ostinato.testing.checker import check, report, summary

FULL = bool(os.environ.get("OSTINATO_TEST_FULL"))
JOBS, MEMBERS, ROUNDS, TICKS = (2000, 4, 6, 30) if FULL else (120, 3, 1, 5)


@pytest.mark.timeout(300)
@on_every_store()
def test_a_storm_breaks_no_promise(place: Place, tmp_path: Path) -> None:
    began = time.monotonic()
    with Storm(place, tmp_path, JOBS, MEMBERS, TICKS) as storm:
        for number in range(ROUNDS):
            storm.at((number + 0.1) / ROUNDS)
            storm.kill()
            storm.freeze()
            storm.at((number + 0.5) / ROUNDS)
            storm.restart()
            storm.at((number + 0.7) / ROUNDS)
            storm.kill()
        history = storm.end()

    print(f"{summary(history)}, {time.monotonic() - began:.1f} s")
    violations = check(history)
    assert not violations, report(violations)
    assert sum(call.count for call in history.calls if call.op == "post" and call.outcome == "ok") == JOBS
    assert sum(call.limits == {"queue:storm": 0} for call in history.calls) >= 1
    assert sum(record.row.job.schedule == "pulse" for record in history.kept) == TICKS
    assert sum(fault.kind == "kill" for fault in history.faults) == 2 * ROUNDS
    assert all(fault.ended - fault.began > LEASE for fault in history.faults if fault.kind == "freeze")
