"""How the end of an attempt's process becomes an outcome: signals, exit codes and silence told apart."""

from __future__ import annotations

import os
import signal

from msgspec.structs import replace

from ostinato import clock
from ostinato.attempt import exited
from ostinato.model import SECOND, Error, Outcome, OutcomeKind
from ostinato.runners.protocol import Run


def lost(run: Run, reason: str) -> Outcome:
    """The outcome of a run that ended by no doing of its task."""
    error = Error("Lost", reason)
    return Outcome(kind="lost", reason=reason, error=error, started_at=run.started_at, ended_at=clock.now())


def verdict(run: Run, told: Outcome | None, status: int, cpu: int, peak: int, oom: bool) -> Outcome:
    """How an attempt ended, from its own account (if it gave one) and its exit status."""
    code = os.waitstatus_to_exitcode(status)
    if told is not None:
        return replace(told, exit_code=max(code, 0), cpu=cpu, peak_memory=peak)
    base = Outcome(kind="died", started_at=run.started_at, ended_at=clock.now(), cpu=cpu, peak_memory=peak)
    if code < 0:
        kind, reason = _killed_by(run, -code, cpu, oom)
        return replace(base, kind=kind, signal=-code, reason=reason, error=Error("Killed", reason))
    if run.order.kind != "function":
        return replace(exited(code), started_at=run.started_at, ended_at=clock.now(), cpu=cpu, peak_memory=peak)
    reason = f"ended without a result (exit code {code})"
    return replace(base, exit_code=code, reason=reason, error=Error("NoResult", reason))


def _killed_by(run: Run, number: int, cpu: int, oom: bool) -> tuple[OutcomeKind, str]:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = str(number)
    limit = run.order.cpu
    if limit is not None and (number == signal.SIGXCPU or (number == signal.SIGKILL and cpu >= limit)):
        return "timeout", f"used more CPU than its limit of {limit / SECOND:g} s"
    if oom:
        return "died", "out of memory: killed by the kernel"
    return "died", f"signal: {name}"
