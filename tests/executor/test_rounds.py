"""What became of the newest round of a chain, seen from the jobs that are there."""

from __future__ import annotations

import logging

import pytest
from msgspec.structs import replace

from ostinato.book import Book, job_for
from ostinato.explain import explain
from ostinato.model import SECOND, End, Row
from ostinato.plugins import open_test_store
from ostinato.rounds import newest
from ostinato.schedule import define
from ostinato.situation import look
from ostinato.storage import Ask
from ostinato.testing.clock import FakeClock
from ostinato.testing.samples import claim_one, end, exists, finish, job
from ostinato.testing.samples import look as row_of
from ostinato.ticker import Ticker
from ostinato.units import moment


@pytest.fixture
def clock():
    return FakeClock(1_700_000_040 * SECOND)


@pytest.fixture
def store(url, clock, tmp_path):
    """With a chain of schedules: first, then, last."""
    opened = open_test_store(f"{url}{tmp_path.name}" if url == "memory://" else url, clock)
    opened.open()
    for name, rule in {"first": {"every": 60}, "then": {"after": "first"}, "last": {"after": "then"}}.items():
        Book(opened).add(define(name, job(""), anchor=clock.now, **rule), replacing=False)
    yield opened
    opened.close()


def post(store, job_id):
    """A run of the first schedule."""
    store.post([job_for(Book(store).page("first").schedule, store.now(), job_id)])


def ends(store, row: Row, state) -> End:
    """As an executor ends it."""
    ticker = Ticker(store)
    ticker._turn()
    fence, ended = end(row, state)
    ended = replace(ended, posts=ticker.followers(row, ended))
    assert store.finish([(fence, ended)]) == [True]
    ticker.unmet(row, ended)
    return ended


def rounds(store):
    pages = Book(store).read()
    found = [newest(store, pages, name) for name in ("first", "then", "last")]
    return [one and (one.state, one.job_id, one.reason) for one in found]


def test_a_round_after_a_failure_is_cancelled(store, clock, caplog):
    assert rounds(store) == [None, None, None]
    post(store, "a")
    assert rounds(store) == [("ready", "a", ""), None, None]
    row = claim_one(store)
    clock.advance(1)
    ends(store, row, "failed")
    why = ("cancelled", None, "job a of schedule first failed")
    assert rounds(store) == [("failed", "a", ""), why, why]
    found = newest(store, Book(store).read(), "last")
    assert (found.tick, found.at) == (moment(row.job.tick), moment(clock.now))
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told == [f"schedule {name}: this round is cancelled, since job a failed" for name in ("then", "last")]
    ended, unmet = explain(look(store, row_of(store, "a"))).reasons
    assert (ended.kind, unmet.kind, unmet.names) == ("ended", "round", ("then", "last"))


def test_a_re_run_that_succeeds_makes_it_take_place(store, clock):
    post(store, "a")
    ends(store, claim_one(store), "failed")
    clock.advance(1)
    store.change(["a"], Ask(kind="rerun"))
    assert rounds(store) == [("ready", "a", ""), None, None]
    (posted,) = ends(store, claim_one(store), "succeeded").posts
    assert rounds(store) == [("succeeded", "a", ""), ("ready", posted.id, ""), None]
    assert len(explain(look(store, row_of(store, "a"))).reasons) == 1


@pytest.mark.parametrize("state", ["ready", "running"])
def test_the_next_run_of_the_first_does_not_hide_what_became_of_this_one(store, clock, state):
    post(store, "a")
    (posted,) = ends(store, claim_one(store), "succeeded").posts
    assert finish(store, claim_one(store))
    clock.advance(1)
    post(store, "b")
    store.change(["b"], Ask(kind="cancel"))
    clock.advance(1)
    post(store, "c")
    if state == "running":
        claim_one(store)
    why = ("cancelled", None, "job b of schedule first was cancelled")
    assert rounds(store) == [(state, "c", ""), why, why]
    assert exists(store, posted.id)


def test_what_was_before_the_schedule_is_none_of_its_rounds(store, clock):
    post(store, "a")
    ends(store, claim_one(store), "failed")
    clock.advance(1)
    Book(store).add(define("late", job(""), anchor=clock.now, after="first"), replacing=False)
    assert newest(store, Book(store).read(), "late") is None


def test_only_jobs_of_schedules_have_rounds(store):
    store.post([job("a")])
    row = claim_one(store)
    Ticker(store).unmet(row, end(row, "failed")[1])
    assert finish(store, row, "failed")
    assert [one.kind for one in explain(look(store, row_of(store, "a"))).reasons] == ["ended"]
