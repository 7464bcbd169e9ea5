"""Durations, sizes, moments and names, as people write them."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.errors import ConfigError
from ostinato.names import check_name, suggest
from ostinato.units import instant, micros, moment, size


@pytest.mark.parametrize(
    ("given_", "seconds"),
    [(0, 0), (1.5, 1.5), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("250ms", 0.25), ("2d", 172800), ("1w", 604800),
     ("7", 7), ("1e3", 1000), (timedelta(minutes=1), 60), ("1h 5 m", 3900)],
)  # fmt: skip
def test_durations(given_, seconds):
    assert micros(given_, "timeout") == seconds * 1_000_000


@pytest.mark.parametrize(
    "wrong",
    ["", "fast", "5 parsecs", "-5s", -1, True, None, [], float("nan"), float("inf"), 10**12, 10**400, "1.2.3s",
     "9" * 400 + "s", timedelta(days=-1), timedelta.max, b"5s"],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_wrong_durations_are_one_clear_error(wrong):
    with pytest.raises(ConfigError, match=r"^timeout="):
        micros(wrong, "timeout")


@pytest.mark.parametrize(
    ("given_", "count"), [(1000, 1000), ("512M", 2**29), ("2g", 2**31), ("1KiB", 1024), ("1.5 KB", 1536), ("0", 0)]
)
def test_sizes(given_, count):
    assert size(given_, "memory") == count


@pytest.mark.parametrize("wrong", ["", "big", "-1", -1, True, None, [], "1P", "1M1", float("nan"), float("inf")])
def test_wrong_sizes_are_one_clear_error(wrong):
    with pytest.raises(ConfigError, match=r"^memory="):
        size(wrong, "memory")


@given(st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=st.just(timezone.utc)))
def test_moments_come_back(at):
    assert abs(moment(instant(at, "run_at")) - at) <= timedelta(microseconds=50)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(timezone.utc)))
def test_moments_of_our_century_are_exact(at):
    assert moment(instant(at, "run_at")) == at


def test_a_time_without_zone_is_refused_with_the_cure():
    with pytest.raises(ConfigError, match=r"no time zone.*datetime\.now\(timezone\.utc\)"):
        instant(datetime(2030, 1, 1), "run_at")
    for wrong in (date(2030, 1, 1), "2030-01-01", 5, None):
        with pytest.raises(ConfigError, match="run_at="):
            instant(wrong, "run_at")


@pytest.mark.parametrize("name", ["a", "mail.send", "x" * 200, "ünïcode", "a/b:c-d_e", "42"])
def test_good_names(name):
    assert check_name("queue", name) == name


@pytest.mark.parametrize(
    "name", ["", "x" * 201, "a b", "a\tb", "a\n", "a*", "a?", "[a]", "\x00", "\ud800", 5, None, b"a"]
)
def test_bad_names_are_refused(name):
    with pytest.raises(ConfigError, match="queue name"):
        check_name("queue", name)


def test_suggestions_name_the_closest_word_or_all_of_them():
    assert suggest("pirority", ["priority", "queue"]) == "Did you mean 'priority'?"
    assert suggest("zzz", ["b", "a"]) == "Known are: a, b."
