"""What is read of the steps of a flow travels in pieces of bounded size."""

from __future__ import annotations

import pytest

from ostinato import records
from ostinato.model import After
from ostinato.plugins import open_store
from ostinato.records import Records
from ostinato.testing.samples import attempt, claim, claim_one, end, finish, job


def test_steps_are_read_in_pieces_of_bounded_size(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BYTES", 1000)
    store = open_store(url)
    store.open()
    store.post([job("f")])
    flow = claim_one(store)
    steps = [job(f"s{number}", flow="f", step=f"s#{number}") for number in range(12)]
    suspended = attempt(flow, "suspended")
    after = After(tuple(one.id for one in steps), "run")
    store.finish([end(flow, "blocked", attempt=suspended, posts=tuple(steps), after=after)])
    sizes = [400, 400, 400, 2000, 10, 10, 10, 980, 1, 1, 1000, 0]
    for row, size in zip(claim(store), sizes, strict=True):
        finish(store, row, result="1" * size)
    pieces, cursor = [], None
    while not pieces or cursor is not None:
        piece, cursor = Records(store).read(flow, None, cursor)
        pieces.append([len(one.result or "") for one in piece])
    assert pieces == [[400, 400], [400], [2000], [10, 10, 10], [980, 1, 1], [1000, 0]]
    store.close()
