"""The pure lifecycle: the same row, outcome and time always give the same end."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ostinato.lifecycle import MAX_DEATHS, backoff_delay, decide, lost, unstorable
from ostinato.model import FINAL, SECOND, After, Backoff, Error, Job, Outcome, OutcomeKind, Policy, Row

KINDS = get_args(OutcomeKind)
CHARGED = ("failure", "timeout", "died", "retry", "unreadable")
FREE = ("success", "cancelled", "snooze", "interrupted", "lost")
NOW = 1_000_000 * SECOND

backoffs = st.builds(
    Backoff,
    first=st.floats(0, 1e9),
    factor=st.floats(0, 1e9),
    limit=st.floats(0, 1e9),
    jitter=st.floats(0, 1),
)
policies = st.builds(
    Policy,
    max_attempts=st.integers(1, 5),
    sink=st.integers(0, 10),
    on_lost=st.sampled_from(["retry", "fail"]),
    backoff=backoffs,
)
outcomes = st.builds(
    Outcome,
    kind=st.sampled_from(KINDS),
    retryable=st.booleans(),
    delay=st.none() | st.integers(0, 1000 * SECOND),
    result=st.none() | st.just("1"),
    posts=st.just((Job(task="then"),)) | st.just(()),
)
chances = st.floats(0, 1, exclude_max=True)


def running(policy: Policy = Policy(), *, charged: int = 0, deaths: int = 0, cancelling: bool = False) -> Row:
    return Row(
        job=Job(task="work", id="J", policy=policy),
        state="running",
        priority=0,
        token=1,
        attempt=charged + 1,
        charged=charged,
        deaths=deaths,
        executor_id="E",
        cancelling=cancelling,
    )


@given(policies, outcomes, st.integers(0, 4), st.integers(0, 2), st.booleans(), chances)
def test_every_outcome_of_every_row_has_an_end(policy, outcome, charged, deaths, cancelling, chance):
    row = running(policy, charged=charged, deaths=deaths, cancelling=cancelling)
    end = decide(row, outcome, NOW, lambda: chance)
    assert end.state in FINAL | {"ready", "scheduled", "blocked", "waiting"}
    assert end.charged - charged == (outcome.kind in CHARGED)
    before = 0 if outcome.kind == "suspended" else deaths
    assert end.deaths - before == (outcome.kind in ("died", "lost"))
    assert end.attempt.number == row.attempt
    assert end.attempt.outcome == outcome.kind
    assert end.state != "scheduled" or end.run_at >= NOW
    assert not (cancelling and end.state not in FINAL)


@given(policies, st.lists(st.tuples(outcomes, chances), max_size=20))
def test_a_job_that_may_go_on_was_never_charged_more_than_its_attempts(policy, story):
    row = running(policy)
    for outcome, chance in story:
        end = decide(row, outcome, NOW, lambda: chance)
        if end.state in FINAL:
            break
        if outcome.kind in CHARGED:
            assert end.charged < policy.max_attempts
        assert end.deaths < MAX_DEATHS
        assert end.posts == () or end.state == "blocked"
        assert end.result is None
        row = replace(row, charged=end.charged, deaths=end.deaths, priority=end.priority, attempt=row.attempt + 1)


@given(st.sampled_from(FREE), policies, outcomes, st.integers(0, 4))
def test_a_success_snooze_interruption_loss_or_cancel_costs_no_attempt(kind, policy, outcome, charged):
    end = decide(running(policy, charged=charged), replace(outcome, kind=kind), NOW)
    assert end.charged == charged
    assert end.priority == 0


@pytest.mark.parametrize("kind", ["died", "lost"])
def test_the_third_death_quarantines_whatever_the_policy(kind):
    generous = Policy(max_attempts=1000)
    assert decide(running(generous, deaths=MAX_DEATHS - 2), Outcome(kind=kind), NOW).state != "failed"
    end = decide(running(generous, deaths=MAX_DEATHS - 1), Outcome(kind=kind), NOW)
    assert end.state == "failed"
    assert end.reason.startswith("quarantined")


@given(st.integers(1, 6), st.sampled_from(["failure", "timeout", "retry"]))
def test_a_job_that_keeps_failing_is_run_exactly_max_attempts_times(attempts, kind):
    row = running(Policy(max_attempts=attempts, sink=3))
    for number in range(1, attempts + 1):
        end = decide(row, Outcome(kind=kind), NOW)
        assert end.state == ("failed" if number == attempts else "scheduled")
        if number < attempts:
            assert end.priority == -3 * number
        row = replace(row, charged=end.charged, priority=end.priority)


def test_a_failure_that_is_not_worth_it_is_not_tried_again():
    assert decide(running(Policy(max_attempts=9)), Outcome(kind="failure", retryable=False), NOW).state == "failed"
    assert decide(running(Policy(max_attempts=9)), Outcome(kind="unreadable"), NOW).state == "failed"


def test_only_a_success_stores_a_result_and_posts():
    posts = (Job(task="then"),)
    for kind in KINDS:
        end = decide(running(Policy(max_attempts=1)), Outcome(kind=kind, result="1", posts=posts), NOW)
        assert (end.state == "succeeded") == (kind == "success")
        assert end.result == ("1" if kind == "success" else None)
        assert end.posts == (posts if kind in ("success", "suspended") else ())


def test_a_suspended_flow_waits_for_its_steps_and_its_deaths_no_longer_count():
    after = After(("a", "b"), "run")
    end = decide(running(deaths=MAX_DEATHS - 1), Outcome(kind="suspended", after=after, reason="waits for a#1"), NOW)
    assert (end.state, end.after, end.deaths, end.charged) == ("blocked", after, 0, 0)
    assert end.reason == "waits for a#1"


def test_a_parked_flow_waits_for_somebody():
    end = decide(running(Policy(max_attempts=1)), Outcome(kind="parked", error=Error("FlowChanged", "no")), NOW)
    assert (end.state, end.after, end.charged) == ("waiting", None, 0)
    assert decide(running(cancelling=True), Outcome(kind="parked"), NOW).state == "cancelled"


def test_a_job_asked_to_be_cancelled_does_not_go_on_but_a_success_in_spite_of_it_counts():
    row = running(Policy(max_attempts=9), cancelling=True)
    for kind in ("failure", "retry", "snooze", "interrupted", "lost", "timeout", "died"):
        assert decide(row, Outcome(kind=kind), NOW).state == "cancelled", kind
    assert decide(row, Outcome(kind="success"), NOW).state == "succeeded"


def test_a_lost_job_fails_at_once_if_its_task_says_so():
    assert decide(running(Policy(on_lost="fail")), lost(running(), NOW), NOW).state == "failed"
    assert decide(running(Policy(on_lost="retry")), lost(running(), NOW), NOW).state == "ready"


def test_retry_and_snooze_decide_when():
    for kind in ("retry", "snooze"):
        end = decide(running(Policy(max_attempts=2)), Outcome(kind=kind, delay=5 * SECOND), NOW)
        assert (end.state, end.run_at) == ("scheduled", NOW + 5 * SECOND)


@given(backoffs, st.integers(1, 1_000_000), chances)
def test_a_backoff_stays_between_nothing_and_its_limit(backoff, failures, chance):
    assert 0 <= backoff_delay(backoff, failures, chance) <= backoff.limit * SECOND + 1


@given(st.floats(0.1, 100), st.floats(1, 10), st.integers(1, 20), st.floats(0, 1), chances)
def test_jitter_only_shortens_by_its_share(first, factor, failures, jitter, chance):
    full = backoff_delay(Backoff(first, factor, 3600, 0), failures, chance)
    drawn = backoff_delay(Backoff(first, factor, 3600, jitter), failures, chance)
    assert full * (1 - jitter) - 2 <= drawn <= full + 2


def test_the_default_backoff_doubles():
    delays = [backoff_delay(Backoff(jitter=0), failures, 0.5) / SECOND for failures in (1, 2, 3, 4, 100)]
    assert delays == [1, 2, 4, 8, 3600]


def test_what_a_store_refuses_ends_failed_without_the_users_values():
    end = decide(running(), Outcome(kind="success", result='"secret"', posts=(Job(task="x"),)), NOW)
    plain = unstorable(replace(end, error=Error("E", "secret")), "too odd")
    assert plain.state == "failed"
    assert "secret" not in repr(plain)
    assert "too odd" in plain.error.message
