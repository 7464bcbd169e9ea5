"""Schedules: what is refused, when they tick, missed ticks, overlaps, and the job of a tick."""

from __future__ import annotations

import io
import struct
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.cron import cron_ticks, parse
from ostinato.errors import ConfigError
from ostinato.model import SECOND, Job, Schedule
from ostinato.schedule import admit, between, check_chain, define, delay, job_of, missed, next_after, preview

MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
UTC = timezone.utc
JOB = Job(task="mail.send", args='{"to":"a"}')


def at(*parts: int, zone: str = "UTC") -> int:
    return int(datetime(*parts, tzinfo=ZoneInfo(zone)).timestamp()) * SECOND


NOON = at(2026, 3, 4, 12)


# making one


def test_a_schedule_of_each_kind():
    assert define("a", JOB, cron="0 3 * * *", timezone="Europe/Paris") == Schedule(
        name="a", job=JOB, cron="0 3 * * *", timezone="Europe/Paris"
    )
    assert define("b", JOB, every="1m30s", jitter=5, anchor=7) == Schedule(
        name="b", job=JOB, every=90 * SECOND, jitter=5 * SECOND, anchor=7
    )
    assert define("c", JOB, after="a") == Schedule(name="c", job=JOB, after="a")


def test_defaults_are_those_that_surprise_least():
    made = define("a", JOB, every=60)
    assert (made.catch_up, made.overlap, made.max_backlog, made.timezone) == ("latest", "skip", 1000, "UTC")
    assert not made.paused


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "nothing that triggers it"),
        ({"cron": "* * * * *", "every": 60}, "cron and every"),
        ({"cron": "0 0 30 2 *"}, "never fires"),
        ({"cron": "0 3 * * *", "start_at": datetime.max.replace(tzinfo=UTC)}, "no tick between"),
        ({"every": "1d", "start_at": datetime.max.replace(tzinfo=UTC)}, "no tick between"),
        ({"cron": "61 * * * *"}, "out of range"),
        ({"cron": "* * *"}, "3 fields"),
        ({"cron": "0 0 * * * 0 2030"}, "7 fields"),
        ({"cron": "@hourl"}, "Did you mean '@hourly'"),
        ({"cron": "H * * * *"}, "jitter="),
        ({"cron": "R * * * *"}, "jitter="),
        ({"cron": 5}, "no cron expression"),
        ({"cron": ["* * * * *"]}, "no cron expression"),
        ({"cron": "*" * 1000}, "no cron expression"),
        ({"cron": "0 3 * * *", "timezone": "Europe/Pari"}, "Did you mean 'Europe/Paris'"),
        ({"cron": "0 3 * * *", "timezone": "../etc/passwd"}, "no time zone"),
        ({"cron": "0 3 * * *", "timezone": "localtime"}, "no time zone"),
        ({"cron": "0 3 * * *", "timezone": "right/Europe/Paris"}, "no time zone"),
        ({"cron": "0 3 * * *", "timezone": 3}, "no time zone"),
        ({"every": 60, "timezone": "Europe/Paris"}, "no meaning without cron"),
        ({"every": 0.5}, "below one second"),
        ({"every": "soon"}, "every='soon'"),
        ({"every": 60, "jitter": 60}, "jitter= is not shorter"),
        ({"every": 60, "jitter": -1}, "jitter=-1"),
        ({"every": 60, "start_at": datetime(2030, 1, 1)}, "start_at.*no time zone"),
        ({"every": 60, "end_at": "2030-01-01"}, "end_at"),
        ({"every": 60, "start_at": datetime(1960, 1, 1, tzinfo=UTC)}, "before 1970"),
        (
            {"every": 60, "start_at": datetime(2030, 1, 2, tzinfo=UTC), "end_at": datetime(2030, 1, 1, tzinfo=UTC)},
            "before start_at",
        ),
        (
            {"cron": "0 0 29 2 *", "start_at": datetime(2025, 1, 1, tzinfo=UTC),
             "end_at": datetime(2026, 1, 1, tzinfo=UTC)},
            "no tick between",
        ),
        ({"after": "a"}, "after itself"),
        ({"after": "b c"}, "white space"),
        ({"after": "b", "start_at": datetime(2030, 1, 1, tzinfo=UTC)}, "no meaning with after"),
        ({"every": 60, "catch_up": "newest"}, "catch_up='newest'"),
        ({"every": 60, "overlap": "cancel-previous"}, "Did you mean 'cancel_previous'"),
        ({"every": 60, "max_backlog": 0}, "max_backlog=0"),
        ({"every": 60, "max_backlog": True}, "max_backlog=True"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_wrong_is_refused_with_the_reason(options, told):
    with pytest.raises(ConfigError, match=rf"(?s)^The schedule 'a' is refused: .*{told}"):
        define("a", JOB, **options)


def test_a_job_is_needed():
    with pytest.raises(ConfigError, match="is no job: give mytask"):
        define("a", lambda: None, every=60)


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        define(
            "a b",
            JOB,
            cron="x",
            every=0,
            timezone="Nowhere",
            start_at=datetime(2030, 1, 1),
            overlap="wait",
            max_backlog=0,
        )
    for told in (
        "white space",
        "cron='x'",
        "cron and every",
        "below one",
        "Nowhere",
        "start_at",
        "'wait'",
        "backlog=0",
    ):
        assert told in str(caught.value)


@given(st.text(st.sampled_from("0123459*/-,#lwhr? @sunmayd"), max_size=20))
def test_no_expression_ends_in_another_error(text):
    try:
        rule = parse(text)
    except ConfigError:
        return
    assert rule.times == tuple(sorted(set(rule.times)))
    made = Schedule(name="a", job=JOB, cron=text)
    assert preview(made, NOON, 3) == sorted(set(preview(made, NOON, 3)))


def test_a_schedule_survives_json():
    made = define("a", JOB, cron="0 3 * * *", timezone="Asia/Tehran", start_at=datetime(2030, 1, 1, tzinfo=UTC),
                  jitter="5m", catch_up="all", overlap="queue", max_backlog=7)  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(made), type=Schedule) == made


# ticks


def test_a_tick_comes_strictly_after():
    made = define("a", JOB, cron="0 12 * * *")
    assert next_after(made, NOON - 1) == NOON
    assert next_after(made, NOON) == NOON + DAY
    assert between(made, NOON - DAY, NOON) == [NOON]


def test_intervals_count_from_their_start_and_do_not_drift():
    made = define("a", JOB, every=7, start_at=datetime(2026, 3, 4, 12, tzinfo=UTC))
    assert next_after(made, 0) == NOON
    assert next_after(made, NOON + 20 * SECOND) == NOON + 21 * SECOND
    assert next_after(made, NOON + 10**9 * SECOND) == NOON + (10**9 // 7 + 1) * 7 * SECOND


def test_intervals_without_a_start_count_from_their_anchor():
    assert preview(define("a", JOB, every="1m", anchor=NOON + 5), NOON + 5, 2) == [
        NOON + 5 + MINUTE,
        NOON + 5 + 2 * MINUTE,
    ]
    assert next_after(define("a", JOB, every="1h"), NOON + 1) == NOON + HOUR, "without an anchor: round times"


def test_start_and_end_belong_to_the_schedule():
    made = define("a", JOB, cron="0 * * * *", start_at=datetime(2026, 3, 4, 12, tzinfo=UTC),
                  end_at=datetime(2026, 3, 4, 14, tzinfo=UTC))  # fmt: skip
    assert preview(made, 0) == [NOON, NOON + HOUR, NOON + 2 * HOUR]
    assert next_after(made, NOON + 2 * HOUR) is None
    every = define("a", JOB, every="1h", start_at=datetime(2026, 3, 4, 12, tzinfo=UTC),
                   end_at=datetime(2026, 3, 4, 14, tzinfo=UTC))  # fmt: skip
    assert preview(every, 0) == preview(made, 0)
    assert next_after(every, NOON + 2 * HOUR) is None


def test_a_chain_has_no_ticks_of_its_own():
    made = define("a", JOB, after="b")
    assert next_after(made, 0) is None
    assert preview(made, 0) == between(made, 0, NOON) == []
    assert missed(made, 0, NOON) == ([], 0)


def test_seconds_are_the_sixth_field():
    assert preview(define("a", JOB, cron="*/5 12 * * * 30"), NOON, 2) == [NOON + 30 * SECOND, NOON + 330 * SECOND]


def test_leap_days_are_found():
    assert preview(define("a", JOB, cron="0 0 29 2 *"), at(2095, 1, 1), 2) == [at(2096, 2, 29), at(2104, 2, 29)]


def test_days_as_croniter_reads_them():
    """Last day of a month, n-th and last weekday, nearest workday, and day or weekday if both are given."""
    start = at(2026, 3, 1) - 1
    assert preview(define("a", JOB, cron="0 0 L * *"), start, 2) == [at(2026, 3, 31), at(2026, 4, 30)]
    assert preview(define("a", JOB, cron="0 0 * * fri#2"), start, 2) == [at(2026, 3, 13), at(2026, 4, 10)]
    assert preview(define("a", JOB, cron="0 0 * * L5"), start, 2) == [at(2026, 3, 27), at(2026, 4, 24)]
    assert preview(define("a", JOB, cron="0 0 13 * fri"), start, 3) == [
        at(2026, 3, 6),
        at(2026, 3, 13),
        at(2026, 3, 20),
    ]


def test_the_clock_of_paris_is_changed():
    """The examples of docs/explanation/schedules.md."""

    def ticks(cron: str, day: int) -> list[str]:
        made = define("a", JOB, cron=cron, timezone="Europe/Paris")
        found = between(made, day, day + 7 * HOUR // 2)
        return [datetime.fromtimestamp(tick / SECOND, ZoneInfo("Europe/Paris")).strftime("%H:%M%z") for tick in found]

    spring, autumn = at(2026, 3, 29), at(2026, 10, 25) - HOUR
    assert ticks("30 2 * * *", spring) == ["03:00+0200"]
    assert ticks("0,30 2 * * *", spring) == ["03:00+0200"]
    assert ticks("*/30 2 * * *", spring) == []
    assert ticks("30 * * * *", spring)[:3] == ["01:30+0100", "03:30+0200", "04:30+0200"]
    assert ticks("30 1-3 * * *", spring) == ["01:30+0100", "03:30+0200"]
    assert ticks("30 2 * * *", autumn) == ["02:30+0200"]
    assert ticks("0,30 2 * * *", autumn) == ["02:00+0200", "02:30+0200"]
    assert ticks("*/30 2 * * *", autumn) == ["02:00+0200", "02:30+0200", "02:00+0100", "02:30+0100"]
    assert ticks("30 * * * *", autumn)[1:3] == ["02:30+0200", "02:30+0100"]
    assert ticks("30 1-3 * * *", autumn) == ["01:30+0200", "02:30+0200", "02:30+0100", "03:30+0100"]


def test_the_day_that_apia_left_out():
    made = define("a", JOB, cron="0 9 30 12 *", timezone="Pacific/Apia")
    assert next_after(made, at(2011, 1, 1)) == at(2011, 12, 31, zone="Pacific/Apia")


def test_a_change_just_before_the_turn_of_the_year():
    """The search goes year by year, and what the clock has shown before must not be lost on the way.

    No zone had one since 1970, so this one is made up: at 23:30 UTC on New Year's Eve of 2030 it is 22:30 again.
    """
    eve = at(2031, 1, 1) // SECOND - 1800
    types = struct.pack(">lBBlBB", 0, 1, 0, -3600, 0, 0)
    header = struct.pack(">4s16x6l", b"TZif", 0, 0, 0, 2, 2, 2)
    file = io.BytesIO(header + struct.pack(">2lBB", 0, eve, 0, 1) + types + b"X\0")
    zone = ZoneInfo.from_file(file, key="Made/Up")
    rule = parse("15 23 * * *")
    first, again, following = eve - 900, eve + 2700, eve + 2700 + 86_400
    assert list(cron_ticks(rule, zone, first - 1, following)) == [first, following]
    assert next(cron_ticks(rule, zone, again - 60)) == following
    assert list(cron_ticks(parse("15 * * * *"), zone, first - 1, again)) == [first, again]


def test_what_can_never_be_has_no_next():
    """Each tick would fall into the hour that is left out on the last Sunday of March."""
    made = Schedule(name="a", job=JOB, cron="*/20 2 * 3 L0", timezone="Europe/Paris")
    assert next_after(made, NOON) is None


def test_ticks_are_quick_to_find():
    """A thousand ticks, and three days by the minute: how often the zone is asked is what costs."""
    made = define("a", JOB, cron="* * * * *", timezone="Europe/Paris")
    assert len(preview(made, NOON, 1000)) == 1000
    found = between(made, NOON, NOON + 3 * DAY)
    assert found == list(range(NOON + MINUTE, NOON + 3 * DAY + 1, MINUTE))


crons = st.sampled_from(
    ["* * * * *", "*/7 * * * *", "30 2 * * *", "0 0 * * *", "0 */5 * * mon-fri", "15,45 1-3 1,15 * *", "5 4 29 2 *",
     "59 23 L * *", "*/20 * * * * */15", "0 3 * * sun#1"]
)  # fmt: skip
zones = st.sampled_from(
    ["UTC", "Europe/Paris", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Tehran"]
)
moments = st.integers(at(2005, 1, 1), at(2035, 1, 1))


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    start = draw(st.none() | moments)
    end = draw(st.none() | st.integers(start or at(2005, 1, 1), at(2036, 1, 1)))
    if draw(st.booleans()):
        return Schedule(name="a", job=JOB, cron=draw(crons), timezone=draw(zones), start_at=start, end_at=end)
    every = draw(st.integers(SECOND, 400 * DAY))
    return Schedule(name="a", job=JOB, every=every, start_at=start, end_at=end, anchor=draw(st.just(0) | moments))


@settings(deadline=None)
@given(schedules(), moments)
def test_all_ways_to_ask_agree(made, start):
    """Ticks rise, lie within start and end, and are the same one by one, as a preview, and between two moments."""
    one_by_one: list[int] = []
    tick = next_after(made, start)
    while tick is not None and len(one_by_one) < 20:
        one_by_one.append(tick)
        tick = next_after(made, tick)
    assert one_by_one == sorted(set(one_by_one))
    assert preview(made, start, 20) == one_by_one
    if one_by_one:
        assert one_by_one[0] > start
        assert one_by_one[0] >= (made.start_at or made.anchor)
        assert one_by_one[-1] <= (made.end_at or one_by_one[-1])
        assert between(made, start, one_by_one[-1]) == one_by_one
        assert between(made, start, one_by_one[-1] - 1) == one_by_one[:-1]
        assert between(made, start, one_by_one[-1], limit=3) == one_by_one[:3]


@settings(deadline=None)
@given(schedules(), moments, st.integers(0, 4 * DAY), st.integers(0, 5 * DAY), st.integers(1, 50))
def test_no_tick_is_counted_twice_or_forgotten(made, last, first_wait, second_wait, most):
    """Whenever one looks: what is dealt with up to now, and from then on, is all there is."""
    now, later = last + first_wait, last + first_wait + second_wait
    made = msgspec.structs.replace(made, catch_up="all", max_backlog=most)
    one, two = missed(made, last, now), missed(made, now, later)
    every = between(made, last, later)
    assert one.skipped + len(one.due) + two.skipped + len(two.due) == len(every)
    assert missed(made, last, later).due == every[-most:]


# missed ticks


@pytest.fixture(params=[{"cron": "* * * * *"}, {"every": 60}], ids=["cron", "every"])
def down(request):
    """What a schedule of one-minute ticks makes of three days during which nothing ran, by policy."""
    now = NOON + 3 * DAY + 30 * SECOND

    def of(catch_up, **options):
        made = define("a", JOB, **request.param, catch_up=catch_up, **options)
        return missed(made, NOON, now)

    return of


def test_all_runs_the_newest_in_order(down):
    backlog = down("all", max_backlog=100)
    assert backlog.due == [NOON + 3 * DAY - back * MINUTE for back in reversed(range(100))]
    assert backlog.skipped == 3 * 24 * 60 - 100


def test_all_runs_all_within_its_bound(down):
    backlog = down("all", max_backlog=5000)
    assert backlog.due == [NOON + count * MINUTE for count in range(1, 3 * 24 * 60 + 1)]
    assert backlog.skipped == 0


def test_latest_runs_one(down):
    assert down("latest") == ([NOON + 3 * DAY], 3 * 24 * 60 - 1)


def test_none_runs_none(down):
    assert down("none") == ([], 3 * 24 * 60)


@pytest.mark.parametrize("catch_up", ["all", "latest", "none"])
def test_a_tick_that_is_on_time_runs_under_every_policy(catch_up):
    made = define("a", JOB, every=60, catch_up=catch_up)
    assert missed(made, NOON - MINUTE, NOON) == ([NOON], 0)
    assert missed(made, NOON - MINUTE, NOON + 3, grace=5) == ([NOON], 0)
    assert missed(made, NOON, NOON + 3, grace=MINUTE) == ([], 0), "not again"


def test_a_paused_schedule_runs_nothing():
    made = msgspec.structs.replace(define("a", JOB, every=60, catch_up="all"), paused=True)
    assert missed(made, NOON, NOON + HOUR) == ([], 60)
    cron = msgspec.structs.replace(define("a", JOB, cron="* * * * *", catch_up="all"), paused=True)
    assert missed(cron, NOON, NOON + HOUR) == ([], 60)


def test_years_of_seconds_are_counted_without_walking():
    made = define("a", JOB, every=1, catch_up="all", max_backlog=2)
    assert missed(made, 0, NOON) == ([NOON - SECOND, NOON], NOON // SECOND - 2)


# overlaps


@pytest.mark.parametrize(
    ("overlap", "verdict"), [("skip", "skip"), ("queue", "queue"), ("allow", "post"), ("cancel_previous", "replace")]
)
def test_what_becomes_of_a_tick_while_a_run_is_active(overlap, verdict):
    made = define("a", JOB, every=60, overlap=overlap)
    assert admit(made, active=0) == "post"
    assert admit(made, active=1) == verdict


@pytest.mark.parametrize(
    ("overlap", "verdict"), [("skip", "queue"), ("queue", "queue"), ("allow", "post"), ("cancel_previous", "queue")]
)
def test_all_that_are_to_be_made_up_run(overlap, verdict):
    """Or else `all` would run one: the others come due while it is active."""
    made = define("a", JOB, every=60, catch_up="all", overlap=overlap, max_backlog=100)
    assert [admit(made, active, made_up=True) for active in range(100)] == ["post"] + [verdict] * 99


def test_a_queue_is_bounded():
    made = define("a", JOB, every=60, overlap="queue", max_backlog=3)
    assert [admit(made, active) for active in range(6)] == ["post", "queue", "queue", "queue", "skip", "skip"]


# the job of a tick


def test_the_job_knows_its_tick():
    made = define("a", msgspec.structs.replace(JOB, id="of-the-template"), every=60)
    assert job_of(made, NOON) == msgspec.structs.replace(JOB, schedule="a", tick=NOON)


def test_jitter_delays_the_job_and_not_its_tick():
    made = define("a", JOB, every=60, jitter=10)
    jobs = [job_of(made, tick) for tick in preview(made, NOON, 500)]
    assert [job.tick for job in jobs] == preview(define("a", JOB, every=60), NOON, 500)
    late = [job.run_at - job.tick for job in jobs]
    assert 0 <= min(late) < SECOND
    assert 9 * SECOND < max(late) <= 10 * SECOND
    assert 4 * SECOND < sum(late) / 500 < 6 * SECOND


def test_jitter_is_the_same_everywhere_and_differs_between_schedules():
    assert delay(define("a", JOB, every=60, jitter=10), NOON) == 7_853_542
    assert delay(define("b", JOB, every=60, jitter=10), NOON) != 7_853_542
    assert delay(define("a", JOB, every=60), NOON) == 0


# chains


def test_a_chain_leads_to_a_schedule_that_is_there():
    first, second = define("first", JOB, every=60), define("second", JOB, after="first")
    check_chain(first, {})
    check_chain(second, {"first": first})
    check_chain(define("third", JOB, after="second"), {"first": first, "second": second})
    with pytest.raises(ConfigError, match=r"runs after 'frist'.*Did you mean 'first'\?"):
        check_chain(define("second", JOB, after="frist"), {"first": first})
    with pytest.raises(ConfigError, match="There are no others"):
        check_chain(second, {})


def test_a_circle_of_chains_is_refused():
    a, b, c = (define(name, JOB, after=after) for name, after in ("ab", "bc", "ca"))
    with pytest.raises(ConfigError, match="wait for each other: 'c' after 'a' after 'b' after 'c'"):
        check_chain(c, {"a": a, "b": b})
    with pytest.raises(ConfigError, match="wait for each other"):
        check_chain(define("d", JOB, after="a"), {"a": a, "b": b, "c": c})
