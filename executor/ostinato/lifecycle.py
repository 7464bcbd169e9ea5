"""The pure lifecycle: what becomes of a job when one of its attempts has ended.

    success ─────────────────────────────────────► succeeded
    cancelled ───────────────────────────────────► cancelled
    failure, timeout, retry, died ─ charged ─┬───► scheduled   attempts left: back-off, lower priority
                                             └───► failed      none left, or not worth another try
    snooze ──────────────────────────────────────► scheduled   costs nothing
    suspended ───────────────────────────────────► blocked     costs nothing, and deaths no longer count
    parked ──────────────────────────────────────► waiting     until somebody has it run again
    interrupted ─────────────────────────────────► ready       costs nothing
    lost ─── counts as a death ──────────────┬───► ready       costs nothing else
                                             └───► failed      on_lost="fail"
    died or lost for the third time ─────────────► failed      quarantined

No I/O and no clock: the same row, outcome and time always give the same end.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from ostinato.model import FINAL, SECOND, Attempt, Backoff, End, Error, Outcome, Row, State

MAX_DEATHS = 3
_CHARGED = frozenset({"failure", "timeout", "died", "retry", "unreadable"})
_DEATHS = frozenset({"died", "lost"})


def decide(row: Row, outcome: Outcome, now: int, chance: Callable[[], float] = random.random) -> End:
    """The end of the attempt that ``row`` was running. Times in microseconds."""
    charged = row.charged + (outcome.kind in _CHARGED)
    deaths = 0 if outcome.kind == "suspended" else row.deaths + (outcome.kind in _DEATHS)
    state, delay, reason = _next(row, outcome, charged, deaths, chance)
    if row.cancelling and state not in FINAL:
        state, delay, reason = "cancelled", 0, row.reason or "cancelled"
    failing = outcome.kind in _CHARGED and state == "scheduled"
    return End(
        state=state,
        attempt=_record(row, outcome),
        run_at=now + delay if state == "scheduled" else row.run_at,
        priority=row.priority - row.job.policy.sink if failing else row.priority,
        charged=charged,
        deaths=deaths,
        result=outcome.result if state == "succeeded" else None,
        error=outcome.error,
        reason=reason,
        posts=outcome.posts if state in ("succeeded", "blocked") else (),
        after=outcome.after if state == "blocked" else None,
    )


def _next(row: Row, outcome: Outcome, charged: int, deaths: int, chance: Callable[[], float]) -> tuple[State, int, str]:
    kind, policy = outcome.kind, row.job.policy
    if kind == "success":
        return "succeeded", 0, ""
    if kind == "cancelled":
        return "cancelled", 0, outcome.reason
    if kind in _DEATHS and deaths >= MAX_DEATHS:
        return "failed", 0, f"quarantined: {deaths} deaths while it was running, the last one: {outcome.reason}"
    if kind == "suspended":
        return "blocked", 0, outcome.reason
    if kind == "parked":
        return "waiting", 0, outcome.reason
    if kind == "interrupted":
        return "ready", 0, outcome.reason
    if kind == "snooze":
        return "scheduled", outcome.delay or 0, outcome.reason
    if kind == "lost":
        return ("failed" if policy.on_lost == "fail" else "ready"), 0, outcome.reason
    if charged >= policy.max_attempts or not outcome.retryable or kind == "unreadable":
        return "failed", 0, outcome.reason
    delay = backoff_delay(policy.backoff, charged, chance()) if outcome.delay is None else outcome.delay
    return "scheduled", delay, outcome.reason


def backoff_delay(backoff: Backoff, failures: int, chance: float) -> int:
    """How long to wait after that many failures, in microseconds.

    Exponential with proportional jitter: between ``1 - jitter`` and 1 times the full delay.
    """
    exponent = min(failures - 1, 64)  # beyond that every factor above 1 is at its limit
    try:
        full = min(backoff.first * float(backoff.factor) ** exponent, backoff.limit)
    except OverflowError:  # an error here would cost the settler a whole batch of outcomes
        full = backoff.limit if backoff.first else 0.0
    return round(full * (1 - backoff.jitter * chance) * SECOND)


def _record(row: Row, outcome: Outcome) -> Attempt:
    return Attempt(
        job_id=row.job.id,
        number=row.attempt,
        executor_id=row.executor_id or "",
        outcome=outcome.kind,
        started_at=outcome.started_at or row.started_at or 0,
        ended_at=outcome.ended_at,
        reason=outcome.reason,
        error=outcome.error,
        exit_code=outcome.exit_code,
        signal=outcome.signal,
        cpu=outcome.cpu,
        peak_memory=outcome.peak_memory,
        log=None if outcome.logged else "",
    )


def lost(row: Row, now: int) -> Outcome:
    """The outcome of a run whose executor gave no sign of life until its lease ran out."""
    reason = f"executor {row.executor_id} lost"
    return Outcome(kind="lost", reason=reason, error=Error("ExecutorLost", reason), ended_at=now)


def unstorable(end: End, why: str) -> End:
    """The end to store when the store refuses this one for its content: nothing of the user's
    values is left in it, so that the job is not stuck."""
    error = Error("ResultRefused", f"The store refused what the task returned or raised: {why}")
    attempt = Attempt(
        job_id=end.attempt.job_id,
        number=end.attempt.number,
        executor_id=end.attempt.executor_id,
        outcome="failure",
        started_at=end.attempt.started_at,
        ended_at=end.attempt.ended_at,
        reason="outcome refused by the store",
        error=error,
    )
    return End(
        state="failed",
        attempt=attempt,
        priority=end.priority,
        charged=end.charged,
        deaths=end.deaths,
        error=error,
        reason="outcome refused by the store",
    )
