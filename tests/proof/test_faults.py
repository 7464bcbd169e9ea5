"""Faults of the matrix that have no other place."""

from __future__ import annotations

import os

from msgspec.structs import replace

from ostinato import host
from ostinato.testing.samples import info


def test_a_process_with_the_id_of_a_dead_executor_is_not_taken_for_it() -> None:
    """Ids are given anew: whether an executor lives is told by its id and its start together."""
    here = info("e1", host=host.HOST, pid=os.getpid(), process=host.started(os.getpid()))
    assert not host.is_dead(here)
    assert host.is_dead(replace(here, process=here.process - 1))
    assert not host.is_dead(replace(here, process=here.process - 1, host="another"))
