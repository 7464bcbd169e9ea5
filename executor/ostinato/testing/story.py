"""Stories: a history sorted by job, and what its lines look like to a person."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timezone

from msgspec import Struct

from ostinato.model import SECOND, Attempt, Row
from ostinato.storage import Record
from ostinato.testing.history import Call, Effect, Facts, Fault, Heard, History, Kept, Op, Planned, Seen


class Run(Struct):
    """The signs of one attempt in the world."""

    attempt: int
    signs: list[Effect]

    @property
    def begin(self) -> Effect:
        return self.signs[0]

    @property
    def last(self) -> Effect:
        return self.signs[-1]

    @property
    def complete(self) -> bool:
        return self.signs[0].kind == "begin" and self.signs[-1].kind == "end"


class Story(Struct):
    """All that is known of one job."""

    id: str
    kept: Record | None = None
    calls: list[Call] = []
    effects: list[Effect] = []
    heard: list[Heard] = []

    @property
    def row(self) -> Row | None:
        return None if self.kept is None else self.kept.row

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        return () if self.kept is None else self.kept.attempts

    def answered(self, op: Op) -> list[Call]:
        """Calls of this kind that surely happened."""
        return [call for call in self.calls if call.op == op and call.outcome == "ok"]

    def perhaps(self, op: Op) -> list[Call]:
        """Calls of this kind that may have happened."""
        return [call for call in self.calls if call.op == op and call.outcome != "failed"]

    def runs(self) -> list[Run]:
        found: dict[int, Run] = {}
        for effect in self.effects:
            found.setdefault(effect.attempt, Run(effect.attempt, [])).signs.append(effect)
        return sorted(found.values(), key=lambda run: run.attempt)


def stories(history: History) -> dict[str, Story]:
    """The story of every job that anybody mentions."""
    found: defaultdict[str, Story] = defaultdict(lambda: Story(""))
    for record in history.kept:
        found[record.row.job.id].kept = record
    for call in history.calls:
        for job in call.jobs:
            found[job].calls.append(call)
    for effect in history.effects:
        found[effect.job].effects.append(effect)
    for heard in history.heard:
        found[heard.job].heard.append(heard)
    for job, story in found.items():
        story.id = job
    return dict(found)


def told(seen: Seen | Attempt) -> tuple[int, str]:
    """When it was, and one line about it."""
    if isinstance(seen, Call):
        set_to = "".join(f" {name} to {'any' if most is None else most}" for name, most in seen.limits.items())
        text = f"client {seen.client} asked to {seen.op}{set_to}: {seen.outcome}"
        states = f" → {', '.join(map(str, seen.states))}" if seen.states else ""
        return seen.began, f"{text}{states} ({(seen.ended - seen.began) / 1000:.1f} ms)" if seen.ended else text
    if isinstance(seen, Effect):
        return seen.at, f"attempt {seen.attempt} {_SIGNS[seen.kind]} in process {seen.pid}"
    if isinstance(seen, Heard):
        return seen.at, f"executor {seen.executor} told of {seen.kind!r} (attempt {seen.attempt})"
    if isinstance(seen, Fault):
        text = f"{seen.kind} of {seen.whom or 'the store'}"
        return seen.began, f"{text} for {(seen.ended - seen.began) / SECOND:g} s" if seen.ended > seen.began else text
    if isinstance(seen, Attempt):
        text = f"the store keeps attempt {seen.number} of executor {seen.executor_id}: {seen.outcome}"
        return seen.started_at, f"{text}, ended {moment(seen.ended_at)} {seen.reason}".rstrip()
    if isinstance(seen, Kept):
        row = seen.record.row
        return row.posted_at, f"posted; at the end the store keeps it as {row.state}, attempt {row.attempt}"
    if isinstance(seen, Planned):
        last = "none" if seen.last is None else moment(seen.last)
        return seen.schedule.anchor, f"schedule {seen.schedule.name} is made; at the end its newest tick is {last}"
    assert isinstance(seen, Facts)
    return 0, f"found at the end: {', '.join(seen.left)}"


_SIGNS = {"begin": "begins", "alive": "goes on", "end": "is complete"}


def moment(at: int) -> str:
    return datetime.fromtimestamp(at / SECOND, timezone.utc).strftime("%H:%M:%S.%f")
