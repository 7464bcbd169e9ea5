"""Ids are ULIDs: unique, and sorted by the time they were made."""

from __future__ import annotations

from ostinato.ids import VALID, new_id, new_ids


def test_ids_have_26_letters_of_the_crockford_alphabet():
    assert all(VALID.fullmatch(one) for one in new_ids(1000))


def test_ids_are_unique():
    assert len(set(new_ids(20_000))) == 20_000


def test_ids_sort_by_the_millisecond_in_which_they_were_made(monkeypatch):
    now = 1_700_000_000_000_000_000
    made = []
    for step in (0, 1_000_000, 10**9, 10**15):
        monkeypatch.setattr("time.time_ns", lambda step=step: now + step)
        made.append(new_id())
    assert made == sorted(made)
    assert [one[:10] for one in made] == sorted({one[:10] for one in made})
