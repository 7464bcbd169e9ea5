"""Options of tasks and posts: each wrong value is one clear error, each right one is stored."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import chores
import pytest

from ostinato import Backoff, ConfigError, PayloadError
from ostinato.current import as_jobs, check_runner
from ostinato.model import HIGH, LOW, SECOND, Job, Rise
from ostinato.options import Placement, priority

NOW = 1_700_000_000 * SECOND
WHEN = datetime(2030, 1, 1, tzinfo=timezone.utc)


def placed(job: Job | None = None, **options) -> Job:
    return Placement(options, NOW).apply(job or chores.add.job(1), "J")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("runner", "proces"), ("timeout", "soon"), ("timeout", -1), ("timeout", 0), ("grace", None), ("grace", "x"),
        ("max_attempts", 0), ("max_attempts", 1.5), ("max_attempts", True), ("backoff", "long"), ("backoff", -1),
        ("backoff", Backoff(jitter=2)), ("backoff", Backoff(first=float("nan"))), ("backoff", Backoff(factor="2")),
        ("on_lost", "ignore"), ("sink", -1), ("memory", "much"), ("memory", 0), ("cpu", "x"), ("files", 1),
        ("nice", 20), ("nice", -1), ("queue", "a b"), ("queue", None), ("priority", "urgent"), ("priority", 1.5),
        ("priority", True), ("slots", 0), ("slots", "2"), ("delay", -1), ("delay", None), ("run_at", "tomorrow"),
        ("run_at", datetime(2030, 1, 1)), ("run_at", 5), ("deadline", "x"), ("expires", datetime(2030, 1, 1)),
        ("tags", "one"), ("tags", [1]), ("tags", 5), ("cpu", 0),
    ],
    ids=lambda value: repr(value)[:25],
)  # fmt: skip
def test_a_wrong_value_is_one_clear_error_that_names_the_option(option, value):
    with pytest.raises(ConfigError) as caught:
        placed(**{option: value})
    assert option.rstrip("s") in str(caught.value).lower()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("pirority", "priority"), ("time_out", "timeout"), ("Queue", "queue"), ("zzz", "tags")],
)
def test_an_unknown_option_is_answered_with_the_closest_or_all(wrong, meant):
    with pytest.raises(ConfigError, match=meant):
        placed(**{wrong: 1})


def test_a_word_that_is_nearly_right_is_answered_with_the_right_one():
    with pytest.raises(ConfigError, match="Did you mean 'subprocess'"):
        placed(runner="subproces")
    with pytest.raises(ConfigError, match="Did you mean 'high'"):
        placed(priority="hihg")


def test_delay_and_run_at_exclude_each_other():
    with pytest.raises(ConfigError, match="one of them"):
        placed(delay=1, run_at=WHEN)


def test_a_job_becomes_high_near_its_deadline_or_when_it_has_waited_long():
    def rises(rise: Rise, **options):
        promoted = Placement(options, NOW, rise).apply(chores.add.job(1), "J").promote_at
        return None if promoted is None else (promoted - NOW) / SECOND

    aged = Rise(lead=30 * SECOND, ageing=600 * SECOND)
    assert rises(Rise()) is None
    assert rises(Rise(lead=30 * SECOND), deadline=300) == 270
    assert rises(Rise(), deadline=300, deadline_lead="2m") == 180
    assert rises(Rise(), deadline=300, deadline_lead=0) == 300
    assert rises(aged) == 600
    assert rises(aged, delay=100) == 700
    assert rises(aged, deadline=300) == 270
    assert rises(aged, deadline=900) == 600


def test_the_lead_of_a_task_holds_for_its_jobs():
    job = placed(chores.hurried.job(), deadline=300)
    assert job.promote_at == job.deadline - 20 * SECOND
    assert placed(chores.hurried.job(), deadline=300, deadline_lead=None).promote_at == job.deadline - 60 * SECOND


def test_every_option_arrives_in_the_job():
    job = placed(
        queue="q", priority=7, slots=3, front=True, tags=["a", "b"], delay="1m", deadline=timedelta(minutes=5),
        expires=WHEN, runner="pool", timeout=2, grace=0, max_attempts=9, backoff=3, on_lost="fail", sink=0,
        memory="1M", cpu=4, files=99, nice=5,
    )  # fmt: skip
    assert (job.id, job.queue, job.priority, job.slots, job.front, job.tags) == ("J", "q", 7, 3, True, ("a", "b"))
    assert job.run_at == NOW + 60 * SECOND
    assert job.deadline == NOW + 300 * SECOND
    assert job.promote_at == NOW + 240 * SECOND
    assert job.expires_at == round(WHEN.timestamp()) * SECOND
    policy = job.policy
    assert (policy.runner, policy.timeout, policy.grace, policy.max_attempts) == ("pool", 2 * SECOND, 0, 9)
    assert (policy.on_lost, policy.sink, policy.memory, policy.cpu) == ("fail", 0, 2**20, 4 * SECOND)
    assert (policy.files, policy.nice, policy.backoff) == (99, 5, Backoff(3.0, 1.0, 3.0, 0.0))


def test_a_post_changes_only_what_it_says_of_the_tasks_policy():
    job = placed(chores.policied.job(), timeout=None, priority="low")
    assert (job.task, job.version, job.queue, job.slots) == ("renamed.chore", 3, "images", 2)
    assert (job.policy.timeout, job.policy.max_attempts, job.policy.grace) == (None, 4, SECOND)
    assert job.priority == LOW
    assert chores.policied.job().priority == HIGH
    assert chores.policied.job().policy.timeout == 60 * SECOND


def test_a_fixed_backoff_longer_than_an_hour_is_not_cut():
    from ostinato.lifecycle import backoff_delay

    assert backoff_delay(placed(backoff=7200).policy.backoff, 1, 0.5) == 7200 * SECOND


def test_priorities_are_three_words_or_any_whole_number():
    assert [priority(one) for one in ("high", "normal", "low", 5, -5)] == [100, 0, -100, 5, -5]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Job.command([]), lambda: Job.command("ls -l"), lambda: Job.command(["ls", 1]),
        lambda: Job.command(["a\x00b"]), lambda: Job.command(["ls"], cwd=5), lambda: Job.command(["ls"], env={"A": 1}),
        lambda: Job.script(5), lambda: Job.script("x.py", None), lambda: Job.command(["\ud800"]),
        lambda: Job.command(["ls"], env={"A": "\x00"}), lambda: Job.command(["ls"], env={"A=B": "c"}),
        lambda: Job.command(["ls"], cwd="a\x00b"),
    ],
)  # fmt: skip
def test_a_program_that_cannot_be_run_is_refused_with_an_example(make):
    with pytest.raises(PayloadError, match=r"Job\.(script|command)\("):
        make()


@pytest.mark.parametrize("thing", [chores.add, None, 5, "chores.add", [chores.add], {"a": 1}])
def test_what_is_no_job_is_refused_with_the_way_to_make_one(thing):
    with pytest.raises(PayloadError, match=r"task\.job\(\.\.\.\)"):
        as_jobs(thing)


def test_programs_run_in_processes_and_functions_on_a_loop_are_coroutines():
    with pytest.raises(ConfigError, match="runner='thread'"):
        check_runner(placed(Job.command(["ls"]), runner="thread"))
    with pytest.raises(ConfigError, match="runner='asyncio'"):
        check_runner(placed(chores.add.job(1), runner="asyncio"))
    check_runner(placed(chores.add_later.job(1), runner="asyncio"))
    check_runner(placed(Job.command(["ls"]), runner="pool"))
