"""Entries: documents of the cluster, written by whoever has read the newest version."""

from __future__ import annotations

import pytest

from ostinato.storage import Entry, Store
from ostinato.testing.samples import HOSTILE
from ostinato.testing.setting import OpenStore, Setting
from ostinato.testing.threads import together


class KeepingCases(Setting):
    def test_none_at_first(self, store: Store) -> None:
        assert store.entries("schedule") == []
        assert store.keep([]) == []

    def test_written_and_read_by_all(self, store: Store, open_store: OpenStore) -> None:
        written = [Entry("schedule", "b", "2"), Entry("schedule", "a", "1"), Entry("other", "a", "3")]
        assert store.keep(written) == [True, True, True]
        assert open_store().entries("schedule") == [Entry("schedule", "a", "1", 1), Entry("schedule", "b", "2", 1)]

    def test_only_the_newest_version_is_overwritten(self, store: Store) -> None:
        store.keep([Entry("s", "a", "1")])
        assert store.keep([Entry("s", "a", "again"), Entry("s", "b", "new", 1)]) == [False, False]
        assert store.keep([Entry("s", "a", "2", 1)]) == [True]
        assert store.keep([Entry("s", "a", "late", 1)]) == [False]
        assert store.entries("s") == [Entry("s", "a", "2", 2)]

    def test_removed(self, store: Store) -> None:
        store.keep([Entry("s", "a", "1"), Entry("s", "b", "1")])
        assert store.keep([Entry("s", "a", None, 7), Entry("s", "b", None, 1), Entry("s", "c", None, 1)]) == [
            False,
            True,
            False,
        ]
        assert store.entries("s") == [Entry("s", "a", "1", 1)]
        assert store.keep([Entry("s", "b", "anew")]) == [True]

    def test_removing_what_is_not_there_is_fine(self, store: Store) -> None:
        assert store.keep([Entry("s", "a", None)]) == [True]
        assert store.entries("s") == []

    def test_same_entry_twice_in_one_call(self, store: Store) -> None:
        assert store.keep([Entry("s", "a", "1"), Entry("s", "a", "2"), Entry("s", "a", "3", 1)]) == [True, False, True]
        assert store.entries("s") == [Entry("s", "a", "3", 2)]

    @pytest.mark.parametrize("text", [*HOSTILE, "x" * 100_000])
    def test_any_text(self, store: Store, text: str) -> None:
        store.keep([Entry("s", text[:200], text)])
        assert store.entries("s") == [Entry("s", text[:200], text, 1)]

    def test_one_of_many_at_once_is_the_first(self, open_store: OpenStore) -> None:
        stores = [open_store() for _ in range(4)]
        won = together(lambda n: stores[n].keep([Entry("s", "a", str(n))])[0], range(4))
        assert sorted(won) == [False, False, False, True]
        assert stores[0].entries("s") == [Entry("s", "a", str(won.index(True)), 1)]
