"""How busy the machine is, and whether that is too much to take more work.

Looked at only when somebody asks, at most twice a second, and not at all without marks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from msgspec import Struct

LOOK = 0.5
"""Seconds between two looks. The use of the processor is that since the look before, so one that ends between two
looks is still seen at the next, and surely gone at the one after it: twice this, and work goes on."""
FIRST = 0.1
"""Seconds over which the use of the processor is measured if nobody has looked for a while."""
RESUME = 0.9
"""What was over its mark must fall below this share of it before work is taken again: else an
executor at its mark would flutter between taking all and taking nothing."""


class Sample(Struct, frozen=True):
    """Shares (0 to 1) of the processors' time since the sample before and of memory in use, and the
    load average of the last minute per core."""

    cpu: float
    memory: float
    load: float


class Marks(Struct, frozen=True):
    """The most of each at which work is taken; None: does not matter."""

    cpu: float | None = None
    memory: float | None = None
    load: float | None = None


def over(marks: Marks, sample: Sample, before: frozenset[str]) -> frozenset[str]:
    """Which are too high, given which were so before."""
    return frozenset(
        name
        for name in Marks.__struct_fields__
        if (mark := getattr(marks, name)) is not None
        and getattr(sample, name) > mark * (RESUME if name in before else 1)
    )


def take_sample() -> Sample:
    import psutil  # only who sets a mark pays for it

    cpu, memory = psutil.cpu_percent() / 100, psutil.virtual_memory().percent / 100
    return Sample(cpu, memory, os.getloadavg()[0] / (os.cpu_count() or 1))


class Load:
    """The marks of one executor, and whether its machine is over them. Not for several threads at once."""

    def __init__(
        self,
        marks: Marks,
        changed: Callable[[], None],
        sample: Callable[[], Sample] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._marks = marks
        self._on_changed = changed
        self._sample = sample or take_sample
        self._clock = clock
        self.watched = marks != Marks()
        self._over: frozenset[str] = frozenset()
        self._blind = False
        self._looked_at = float("-inf")
        self._look_at = float("-inf")
        self.why = ""
        """Why no work is taken; "" if it is."""

    def pause(self) -> float:
        """How long to take no work, in seconds; 0 if some may be taken now."""
        if not self.watched:
            return 0.0
        now = self._clock()
        if now >= self._look_at:
            self._look(now)
        return self._look_at - now if self._over or self._blind else 0.0

    def _look(self, now: float) -> None:
        sample = self._sample()
        # the use of the processor since an hour ago tells nothing of now: then a short while is measured first
        self._blind = self._marks.cpu is not None and now - self._looked_at > 2 * LOOK
        self._looked_at, self._look_at = now, now + (FIRST if self._blind else LOOK)
        if not self._blind:
            self._judge(sample)

    def _judge(self, sample: Sample) -> None:
        before, self._over = self._over, over(self._marks, sample, self._over)
        self.why = ", ".join(
            f"{name} {_shown(name, getattr(sample, name))} (mark {_shown(name, getattr(self._marks, name))})"
            for name in sorted(self._over)
        )
        if bool(before) != bool(self._over):
            self._on_changed()


def _shown(name: str, value: float) -> str:
    return f"{value:.2f}" if name == "load" else f"{value:.0%}"
