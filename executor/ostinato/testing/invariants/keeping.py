"""Nothing is lost, nothing comes from nowhere, and all that was begun has ended."""

from __future__ import annotations

from collections.abc import Iterator

from ostinato.model import FINAL
from ostinato.testing.history import Facts, History, Kept
from ostinato.testing.invariants import Violation
from ostinato.testing.story import Story


def no_loss(story: Story, facts: Facts) -> Iterator[Violation]:
    """A job whose post was acknowledged is there, unless somebody wanted it forgotten."""
    posts = story.answered("post")
    if posts and story.kept is None and not story.perhaps("forget"):
        yield Violation("no loss", story.id, "its post was acknowledged, but the store does not have it", (posts[0],))


def forgotten(story: Story, facts: Facts) -> Iterator[Violation]:
    """A job that was forgotten does not come back."""
    gone = [call for call in story.answered("forget") if call.states[call.jobs.index(story.id)] is None]
    if gone and story.kept is not None:
        yield Violation("forgotten", story.id, "it was forgotten, but is there", (gone[0], Kept(story.kept)))


def nothing_from_nowhere(history: History, stories: dict[str, Story]) -> Iterator[Violation]:
    """Every job was posted by a client whom the store answered, by an attempt, by a schedule, by a flow whose
    step it is, or by one of the calls whose outcome nobody knows: each of those at most once. Events are made
    by whoever speaks of them first."""
    asked = {job for call in history.calls if call.op == "post" for job in call.jobs}
    asked |= {job for effect in history.effects for job in (*effect.posts, *effect.perhaps)}
    planned = {one.schedule.name for one in history.planned}
    asked |= {record.row.job.id for record in history.kept if record.row.job.schedule in planned}
    kept = {record.row.job.id for record in history.kept}
    asked |= {record.row.job.id for record in history.kept if record.row.job.flow in kept}
    asked |= {record.row.job.id for record in history.kept if record.row.job.kind == "signal"}
    unknown = sum(call.count for call in history.calls if call.op == "post" and call.outcome in ("asked", "unknown"))
    strays = [record for record in history.kept if record.row.job.id not in asked]
    if history.calls and len(strays) > unknown:
        said = f"{len(strays)} jobs were posted by nobody, but only {unknown} posts have an unknown outcome"
        yield Violation("nothing from nowhere", strays[-1].row.job.id, said, (Kept(strays[-1]),))
    for effect in history.effects:
        story = stories[effect.job]
        if story.kept is None and not story.perhaps("forget"):
            yield Violation("nothing from nowhere", effect.job, "it ran, but the store does not have it", (effect,))
            return


def follow_ups(history: History, stories: dict[str, Story]) -> Iterator[Violation]:
    """The follow-up jobs of an attempt are stored if, and only if, it was accepted as a success."""
    for effect in history.effects:
        story = stories[effect.job]
        succeeded = {one.number for one in story.attempts if one.outcome == "success"}
        for job in effect.posts if story.kept is not None else ():
            child = stories.get(job, Story(job))
            if effect.attempt in succeeded and child.kept is None and not child.perhaps("forget"):
                yield Violation("follow-ups", job, f"attempt {effect.attempt} of {story.id} succeeded and posted it, "
                                "but the store does not have it", (effect,))  # fmt: skip
            elif effect.attempt not in succeeded and child.kept is not None:
                yield Violation("follow-ups", job, f"attempt {effect.attempt} of {story.id} posted it, but was not "
                                "accepted as a success", (effect, *story.attempts))  # fmt: skip


def all_ended(story: Story, facts: Facts) -> Iterator[Violation]:
    """After the end no job is left that should have run, and none holds a lease."""
    if story.kept is None or not facts.drained:
        return
    row, kept = story.kept.row, Kept(story.kept)
    if row.state not in FINAL:
        yield Violation("all ended", story.id, f"it is left {row.state}", (kept,))
    elif row.lease_until is not None:
        yield Violation("all ended", story.id, f"it is {row.state}, but holds a lease", (kept,))


def nothing_left(history: History, stories: dict[str, Story]) -> Iterator[Violation]:
    """No process, file or registered executor is left after the end."""
    if history.facts.left:
        yield Violation("nothing left", "", f"left behind: {', '.join(history.facts.left)}")


def logs_kept(story: Story, facts: Facts) -> Iterator[Violation]:
    """Every ended attempt has a log, or is known to have written none."""
    for attempt in story.attempts if facts.logged else ():
        if attempt.log is None:
            yield Violation("logs", story.id, f"nobody knows where the log of attempt {attempt.number} is", (attempt,))
