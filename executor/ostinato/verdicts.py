"""What a task may raise to say what becomes of it: Retry, Snooze, Cancel."""

from __future__ import annotations

from ostinato.units import Duration, micros


class Verdict(Exception):
    """Root of the three; not an error."""


class Retry(Verdict):
    """This attempt failed; make another one, ``after`` some time (default: the task's back-off).

    Counts as an attempt.
    """

    def __init__(self, reason: str = "", *, after: Duration | None = None) -> None:
        super().__init__(reason or "the task asked for another attempt")
        self.delay = None if after is None else micros(after, "after")


class Snooze(Verdict):
    """Not now: run this job again in a while. Costs no attempt."""

    def __init__(self, delay: Duration, reason: str = "") -> None:
        super().__init__(reason or "snoozed")
        self.delay = micros(delay, "delay")


class Cancel(Verdict):
    """The job is moot: end it as cancelled, without error."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "cancelled by the task itself")
