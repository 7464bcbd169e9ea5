"""What is read of the steps of a flow travels in pieces of bounded size."""

from __future__ import annotations

import pytest

from ostinato import records
from ostinato.plugins import open_store
from ostinato.records import Records
from ostinato.testing.cases.flowing import fan_out
from ostinato.testing.samples import claim, finish, look


def test_steps_are_read_in_pieces_of_bounded_size(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BYTES", 1000)
    store = open_store(url)
    store.open()
    fan_out(store, "f", 12)
    flow = look(store, "f")
    sizes = [400, 400, 400, 2000, 10, 10, 10, 980, 1, 1, 1000, 0]
    for row, size in zip(claim(store), sizes, strict=True):
        finish(store, row, result="1" * size)
    pieces, cursor = [], None
    while not pieces or cursor is not None:
        piece, cursor = Records(store).read(flow, None, cursor)
        pieces.append([len(one.result or "") for one in piece])
    assert pieces == [[400, 400], [400], [2000], [10, 10, 10], [980, 1, 1], [1000, 0]]
    store.close()
