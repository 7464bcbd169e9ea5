"""What follows when jobs end: those that wait for them are released or end too, and so do their steps.

    end ─► waits for it are struck out ─► nothing left: released │ by its rule: ended ─┐
     ▲  └► its steps ─► asked to end ──────────────────────────────────────── ended ───┤
     └────────────────────────────────────────────────────────────────────────────────┘

All of it in the transaction of the end, one generation after the other. Who makes a job wait for another
one, or a step of it, locks that other one and ties it; who ends a job holds its lock, and then locks those
that wait for it before he looks whether he was the last. So nobody is overlooked, and of several who end
at the same time one sees that nothing is left. Locks are taken from a job to those that wait for it,
and by ``seq`` among equals: a step is locked before its flow. But for the step that a flow is to watch next
(`ostinato_sql.waits`): who cancels the flow at that moment may wait for it in a circle, which the database
breaks, and the verb is tried again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec.structs import replace
from sqlalchemy import bindparam, delete, func, literal_column, select, update

from ostinato.model import FINAL, After, Channel, Kind, State
from ostinato.rules import consequence, first_state
from ostinato_sql import waits
from ostinato_sql.link import Link
from ostinato_sql.statement import Keyed, Statement, at_most
from ostinato_sql.tables import jobs
from ostinato_sql.tables import waits as waits_table
from ostinato_sql.waits import AWAITED


class Waiter(NamedTuple):
    """What counts of a blocked job."""

    seq: int
    id: str
    kind: Kind
    token: int
    run_at: int
    awaited: bool
    stepped: bool


class Ending(Protocol):
    """What counts of a job that ends."""

    @property
    def id(self) -> str: ...
    @property
    def awaited(self) -> bool: ...
    @property
    def stepped(self) -> bool: ...


class Living(Ending, Protocol):
    """What counts of a job that is asked to end."""

    @property
    def seq(self) -> int: ...
    @property
    def state(self) -> str: ...


class Step(NamedTuple):
    """A step that has not ended."""

    seq: int
    id: str
    state: str
    awaited: bool
    stepped: bool
    flow: str


# In words that no index has: MariaDB would read, and lock, all jobs of which that is true.
_is_blocked = func.lower(jobs.c.state) == literal_column("'blocked'")
is_living = func.coalesce(jobs.c.ended_at, literal_column("-1")) == literal_column("-1")
_SEQS = Keyed(lambda keys: select(jobs.c.seq).where(jobs.c.id.in_(keys)))
# By ``seq``, since MariaDB locks in the order of the index that it reads.
_LOCK = Keyed(
    lambda keys: (
        select(jobs.c.id, jobs.c.seq, jobs.c.state, jobs.c.awaited, jobs.c.stepped)
        .where(jobs.c.seq.in_(keys))
        .order_by(jobs.c.seq)
        .with_for_update()
    )
)
_AWAIT = Keyed(lambda keys: update(jobs).where(jobs.c.seq.in_(keys)).values(awaited=literal_column("1")))
_STEP = Keyed(lambda keys: update(jobs).where(jobs.c.seq.in_(keys)).values(stepped=literal_column("1")))
_BLOCKED = Keyed(
    lambda keys: (
        select(jobs.c.seq, jobs.c.id, jobs.c.kind, jobs.c.token, jobs.c.run_at, AWAITED, jobs.c.stepped)
        .where(jobs.c.seq.in_(keys), _is_blocked)
        .order_by(jobs.c.seq)
        .with_for_update()
    )
)
_WAITS = Keyed(
    lambda keys: (
        select(*[waits_table.c[name] for name in ("job", "token", "awaited", "failure", "first")])
        .where(waits_table.c.awaited.in_(keys))
        .order_by(waits_table.c.job, waits_table.c.place)
    )
)
_STRIKE = Keyed(lambda keys: delete(waits_table).where(waits_table.c.awaited.in_(keys)))
_left = at_most(1, select(literal_column("1")).where(waits_table.c.job == jobs.c.seq)).correlate(jobs)
_LEFT = Keyed(lambda keys: select(jobs.c.seq, _left.scalar_subquery()).where(jobs.c.seq.in_(keys)))
_AWAIT_NEW = Keyed(lambda keys: update(jobs).where(jobs.c.id.in_(keys)).values(awaited=literal_column("1")))
_LAST_STEP = Statement(
    at_most(1, select(jobs.c.seq).where(jobs.c.flow == bindparam("whose"), is_living).order_by(jobs.c.seq.desc())),
    "whose",
)
_STEPS_OF = Keyed(lambda keys: select(jobs.c.id, jobs.c.seq).where(jobs.c.flow.in_(keys), is_living))
_STEPS = Keyed(
    lambda keys: (
        select(jobs.c.seq, jobs.c.id, jobs.c.state, AWAITED, jobs.c.stepped, jobs.c.flow)
        .where(jobs.c.seq.in_(keys), is_living)
        .order_by(jobs.c.seq)
        .with_for_update()
    )
)
_MOVE = Keyed(
    lambda keys: (
        update(jobs)
        .where(jobs.c.seq.in_(keys))
        .ordered_values(
            (jobs.c.state, bindparam("new")), (jobs.c.ended_at, bindparam("at")), (jobs.c.reason, bindparam("why"))
        )
    ),
    "new",
    "at",
    "why",
)
_FLAG = Keyed(
    lambda keys: (
        update(jobs).where(jobs.c.seq.in_(keys)).values(cancelling=literal_column("1"), reason=bindparam("why"))
    ),
    "why",
)


def tie(link: Link, awaited: Iterable[str], flows: Iterable[str]) -> dict[str, State]:
    """From now on somebody waits for these jobs, or they are flows with steps. Those that are known, locked,
    and their states."""
    seqs = [seq for (seq,) in link.among(_SEQS, sorted({*awaited, *flows}))]
    found = link.among(_LOCK, sorted(seqs))
    waiting, stepping = set(awaited), set(flows)
    link.run_among(_AWAIT, [seq for job_id, seq, _, known, _ in found if job_id in waiting and not known])
    link.run_among(_STEP, [seq for job_id, seq, _, _, known in found if job_id in stepping and not known])
    return {job_id: state for job_id, _, state, _, _ in found}


def lock_steps(link: Link, ids: Iterable[str]) -> None:
    """Of jobs that are about to be ended: steps before their flows, as those do who end the steps."""
    flows = seen = set(ids)
    generations = []
    while flows:
        found: dict[str, int] = dict(link.among(_STEPS_OF, sorted(flows)))
        generations.append(sorted(found.values()))
        flows = found.keys() - seen
        seen = seen | flows
    for generation in reversed(generations):
        link.among(_LOCK, generation)


class Consequences:
    """Of the ends of some jobs, within one transaction. ``told`` is who should hear of them."""

    def __init__(self, link: Link, now: int) -> None:
        self.told: set[Channel] = set()
        self._link = link
        self._now = now
        self._ended: dict[str, State] = {}  # those that others wait for
        self._flows: list[str] = []  # those that have steps

    def ended(self, job: Ending, state: State) -> None:
        """This job has ended, and is locked."""
        self.told.add("ended")
        if job.awaited:
            self._ended[job.id] = state
        if job.stepped:
            self._flows.append(job.id)

    def look_back(self, ended: Mapping[str, State]) -> None:
        """Others have begun to wait for jobs that have ended before."""
        self._ended.update(ended)
        self.draw()

    def ask_to_end(self, living: Sequence[Living], reason: str) -> None:
        """Jobs that run are flagged, the others are cancelled at once."""
        running = [one.seq for one in living if one.state == "running"]
        others = [one for one in living if one.state != "running"]
        self._link.run_among(_FLAG, running, reason)
        if running:
            self.told.add("orders")
        self._move([one.seq for one in others], "cancelled", reason)
        waits.end(self._link, [one.seq for one in others if one.state == "blocked"])
        for one in others:
            self.ended(one, "cancelled")

    def wait(self, waiting: Sequence[tuple[Waiter, After]], new: Mapping[str, int], flows: Iterable[str] = ()) -> None:
        """Blocked jobs wait from now on, if there still is anything to wait for. ``new`` are jobs that
        this transaction has made, with their ``seq``: those that come later count as ended long ago. It is 0
        for steps: they are not known to be awaited yet. ``flows`` got new steps."""
        ids = {job_id for _, after in waiting for job_id in after.jobs}
        old = ids - new.keys()
        known = tie(self._link, old, set(flows) - new.keys())
        ended = {job_id: state for job_id in old if (state := known.get(job_id, "succeeded")) in FINAL}
        fates = _Fates(self._now)
        left = []
        watching = []
        for waiter, after in waiting:
            later: dict[str, State] = {one: "succeeded" for one in after.jobs if new.get(one, 0) > waiter.seq}
            over = {**ended, **later} if later else ended
            heard = {one: over[one] for one in after.jobs if one in over}
            others = tuple(one for one in after.jobs if one not in over)
            if fate := consequence(after, heard, bool(others)):
                state = fates.add(waiter, *fate)
                if state in FINAL:
                    ended[waiter.id] = state
            elif self._are_its_steps(waiter, after, others):
                watching.append(waiter)
            else:
                left.append((waiter.seq, waiter.token, replace(after, jobs=others)))
        waits.add(self._link, left)
        self._link.run_among(_AWAIT_NEW, [one for _, _, after in left for one in after.jobs if new.get(one) == 0])
        for waiter in watching:
            self._watch(waiter)
        self._meet(fates)

    def _are_its_steps(self, waiter: Waiter, after: After, others: Sequence[str]) -> bool:
        """Whether these are all of its steps that have not ended, and it waits for each."""
        if not waiter.stepped or after.first or after.failure != "run":
            return False
        return {job_id for job_id, _ in self._link.among(_STEPS_OF, [waiter.id])} == set(others)

    def _watch(self, waiter: Waiter) -> bool:
        """Let it wait for the last of its steps that have not ended, which most often is the last to end; False
        if there is none. Who ends a step that nobody watches does not hold its flow, so that it may have ended
        until it is locked here."""
        while last := self._link.first(_LAST_STEP, waiter.id):
            for values in self._link.among(_STEPS, last):
                step = Step(*values)
                if not step.awaited:
                    self._link.run_among(_AWAIT, [step.seq])
                waits.watch(self._link, waiter.seq, waiter.token, step.id)
                return True
        return False

    def draw(self) -> None:
        """All that follows, and what follows from that."""
        while self._ended or self._flows:
            ended, self._ended, flows, self._flows = self._ended, {}, self._flows, []
            self._release(ended)
            self._end_steps(flows)

    def _release(self, ended: Mapping[str, State]) -> None:
        """What becomes of those that waited for the ended jobs. Some may be released by others until they
        are locked here; one that then waits again has another token."""
        link = self._link
        struck = link.among(_WAITS, ended)
        if not struck:
            return
        blocked = {values[0]: Waiter(*values) for values in link.among(_BLOCKED, sorted({one[0] for one in struck}))}
        heard: dict[int, list[str]] = defaultdict(list)
        rules: dict[int, After] = {}
        watching = []
        for seq, token, awaited, failure, first in struck:
            if seq not in blocked or blocked[seq].token != token:
                continue
            if first == waits.STEPS:
                watching.append(blocked[seq])
                continue
            heard[seq].append(awaited)
            rules[seq] = After((), failure, bool(first))
        link.run_among(_STRIKE, ended)
        fates = _Fates(self._now)
        for waiter in watching:
            if not self._watch(waiter):
                fates.add(waiter, "ready", "")
        for seq, awaited in heard.items():
            if fate := consequence(rules[seq], {one: ended[one] for one in awaited}, left=True):
                fates.add(blocked[seq], *fate)
        settled = {waiter.seq for some in fates.of.values() for waiter in some}
        waits.end(link, settled)
        for seq, left in link.among(_LEFT, heard.keys() - settled):
            if not left:
                fates.add(blocked[seq], "ready", "")
        self._meet(fates)

    def _end_steps(self, flows: Sequence[str]) -> None:
        steps: dict[str, list[Step]] = defaultdict(list)
        seqs = sorted(seq for _, seq in self._link.among(_STEPS_OF, flows))
        for values in self._link.among(_STEPS, seqs):
            steps[values[-1]].append(Step(*values))
        for flow, some in steps.items():
            self.ask_to_end(some, f"its flow {flow} has ended")

    def _meet(self, fates: _Fates) -> None:
        for (state, reason), waiters in fates.of.items():
            self._move([waiter.seq for waiter in waiters], state, reason)
            if state not in FINAL:
                self.told.add("ready")
                continue
            for waiter in waiters:
                self.ended(waiter, state)

    def _move(self, seqs: Iterable[int], state: State, reason: str) -> None:
        self._link.run_among(_MOVE, seqs, state, self._now if state in FINAL else None, reason)


class _Fates:
    """What becomes of blocked jobs; those of whom the same becomes together."""

    def __init__(self, now: int) -> None:
        self.of: dict[tuple[State, str], list[Waiter]] = defaultdict(list)
        self._now = now

    def add(self, waiter: Waiter, state: State, reason: str) -> State:
        state = first_state(waiter, waiter.run_at, self._now) if state == "ready" else state
        self.of[state, reason].append(waiter)
        return state
