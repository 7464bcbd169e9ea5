"""The storage seam: what a store must do, and nothing of what to do with it.

The core decides, the store applies it if the fence still holds. A store never calls user
code and holds no policy. Verbs are synchronous, may be called from any thread, take values
and return values. Each verb is one atomic step unless it says otherwise. When the store
cannot be reached a verb raises `ostinato.errors.StoreUnavailable`; the caller then does not
know whether it was applied, and every verb may safely be called again with the same values.

How later needs fit without new verbs: schedules are `tick` and `keep`; resources, queue limits and
pauses are named capacities set by `limit` and occupied by `Job.holds`; dependencies, flows
and waiting jobs are fields of `Job`, states ``blocked`` and ``waiting``, and asks of `change`.

What holds whenever a job ends, by whatever verb, in the same atomic step:

- Jobs that come after it (`Job.after`, `End.after`) hear of it: `ostinato.rules.consequence` says what becomes of
  each. A released one enters the state that `ostinato.rules.first_state` tells for its ``run_at``.
- Its steps (jobs whose `Job.flow` it is) that have not ended are asked to ``cancel``.

Both may end further jobs, of which the same holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, Protocol, runtime_checkable

from msgspec import Struct

from ostinato.model import Attempt, Channel, End, Error, ExecutorInfo, Fence, Job, Row, State


class Rate(Struct, frozen=True):
    """At most ``count`` starts within any ``per`` microseconds."""

    count: int
    per: int


NO_RATES: Mapping[str, Rate | None] = MappingProxyType({})


class Entry(Struct, frozen=True):
    """A document that belongs to no job: the definition of a schedule, say. ``version`` counts how
    often it was written: who writes names the version that he read."""

    kind: str
    name: str
    value: str | None
    version: int = 0


class Posted(Struct, frozen=True, gc=False):
    """The answer to one posted job: its id, and False if a job of that id was there already, or
    another one holds its unique key (then the id is that one's)."""

    id: str
    created: bool = True


class Want(Struct, frozen=True, kw_only=True):
    """What an executor can take now.

    ``tasks`` maps each known task to the newest version it accepts; ``queues`` are names or
    globs; ``slots`` are free now, ``capacity`` is what it has in all: a job that costs more
    than ``slots`` but not more than ``capacity`` holds back the ones behind it, so that it is
    not starved; one that costs more than ``capacity`` is passed over. ``lease`` in microseconds.
    """

    tasks: Mapping[str, int]
    queues: tuple[str, ...] = ("default",)
    slots: int = 1
    capacity: int = 1
    count: int = 1
    lease: int = 30_000_000


class Claimed(Struct, frozen=True, kw_only=True):
    """The answer to a claim. ``next_at`` is when the next scheduled job comes due, the time of a waiting
    one runs out, or a rate lets a job start that it holds back now (None: none of these), ``expired`` are
    jobs that ended as expired because nobody started them in time."""

    rows: list[Row]
    now: int
    next_at: int | None = None
    expired: list[Row] = []


class Renewal(Struct, frozen=True, kw_only=True):
    """The answer to a sign of life: which fences are lost, which jobs somebody wants cancelled,
    and who else is alive."""

    now: int
    lost: list[Fence] = []
    cancelling: list[Fence] = []
    peers: list[ExecutorInfo] = []


class Note(Struct, frozen=True):
    """A record about a run. Keys: ``progress``, ``checkpoint`` and ``step`` (JSON documents; written
    while it runs, fenced by ``token``; each step under a ``name`` of at most 200 characters of its own,
    where the first one written stays), ``log`` (the URL of the uploaded log of attempt number
    ``attempt``; written after it ended. No other claim ever gets that number, so the number is
    the fence)."""

    job_id: str
    token: int
    attempt: int
    key: Literal["progress", "checkpoint", "step", "log"]
    value: str
    name: str = ""


class Rescue(Struct, frozen=True, kw_only=True):
    """Which runs to take over: those whose lease ran out, and all of the named executors
    (known to be dead). ``lease`` is the rescuer's own, in microseconds."""

    dead: tuple[str, ...] = ()
    count: int = 100
    lease: int = 30_000_000


class Ask(Struct, frozen=True, kw_only=True):
    """A wish from outside, applied by state.

    ``cancel``: not yet running → cancelled at once; running → flagged, and told by `Store.renew`.
    ``rerun``: final → ready again with a fresh budget of attempts (``charged`` and ``deaths`` 0,
    the priority it was posted with), its history and checkpoint kept, its place among equals too;
    an expiry no longer applies (but where a `Job.default` is the answer to it), nor what it came after.
    One whose unique key another job holds now stays as it is. A ``waiting`` job that is not one of
    `WAITING` (a parked flow) is taken like a final one.
    ``forget``: final → deleted with its attempts; a step of a job that has not ended stays.
    ``answer``: waiting, of a kind in `WAITING` → succeeded with ``result``, or failed with ``error``.
    """

    kind: Literal["cancel", "rerun", "forget", "answer"]
    reason: str = ""
    result: str | None = None
    error: Error | None = None


class Changed(Struct, frozen=True, gc=False):
    """What became of one ask: ``before`` is None if no such job exists; ``after`` the state now."""

    id: str
    before: State | None
    after: State | None


class JobQuery(Struct, frozen=True, kw_only=True):
    """Jobs by any of these, all given ones together, newest first.

    ``cursor`` is `Page.next` of the page before. ``ended_before`` in microseconds. Of a ``brief`` answer only what
    became of the jobs is looked at (`Row.state`, ``attempt``, ``result``, ``error``, ``reason``) and which they are
    (`Job.id`, ``task``, ``flow``, ``step``): the rest may be left out.
    """

    ids: tuple[str, ...] | None = None
    states: tuple[State, ...] = ()
    tasks: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    tag: str | None = None
    flow: str | None = None
    executor_id: str | None = None
    ended_before: int | None = None
    oldest_first: bool = False
    limit: int = 100
    cursor: str | None = None
    brief: bool = False


class Page(Struct, frozen=True):
    """Some of what was found. ``next`` is the cursor for the rest, None at the end."""

    rows: list[Row]
    next: str | None = None


class Count(Struct, frozen=True):
    """How many jobs of one kind are in one state: a kind is what decides who can run them."""

    queue: str
    task: str
    state: State
    jobs: int
    version: int = 1
    slots: int = 1


class Record(Struct, frozen=True):
    """A job as one store held it, to be kept by another just so: `Store.load`."""

    row: Row
    attempts: tuple[Attempt, ...] = ()


class Listener(Protocol):
    """Hears that something happened in the store.

    ``ready``: something may be claimable. ``ended``: jobs reached a final state. ``orders``:
    a running job is to be cancelled, an executor has joined, or an entry was written. Only an
    accelerator: hearing nothing proves nothing.
    """

    def wait(self, timeout: float) -> frozenset[Channel]:
        """Block until something was heard since the last call, `wake` was called, or
        ``timeout`` seconds passed. May hear what is not so; costs next to nothing while idle."""

    def wake(self) -> None:
        """Make the current (or the next) `wait` return; from any thread."""

    def close(self) -> None:
        """Stop listening; a waiting thread returns."""


class Store(Protocol):
    """A storage backend. See the module's text for what holds for all verbs."""

    durable: str
    """One sentence on what a returned `post` survives; shown by ``ostinato doctor``."""

    def open(self) -> None:
        """Connect; verify or create the schema. Raises StoreUnavailable or StoreCorrupt."""

    def close(self) -> None:
        """Release everything; wake all waiters. May be called twice."""

    def now(self) -> int:
        """The store's clock in microseconds, the only one that judges leases and due times."""

    # in

    def post(self, jobs: Sequence[Job]) -> list[Posted]:
        """Store all of the jobs, or none; each has an id. They keep the order given among equals.

        A job whose id is known already is left as it is (``created`` False), so that posting
        again after a lost answer is safe. Jobs whose ``run_at`` is in the future are
        ``scheduled``, others ``ready`` (`ostinato.rules.first_state`), but a job that comes after others
        (`Job.after`) is ``blocked`` until `ostinato.rules.consequence` says otherwise. Those are stored
        already, or come earlier in the same call; others have ended long ago.

        A unique key is held by the job that was created with it, for as long as `ostinato.rules.holds_key`
        says; who posts it meanwhile gets what `Unique.on_conflict` says, also within one call. Raises
        AlreadyPosted, and then nothing is stored. A key may have 255 characters.
        """

    def load(self, records: Sequence[Record]) -> list[bool]:
        """Store jobs of another store as they were there, with their attempts, their tokens and
        their place in line behind all that is here. False where the id is known: nothing was done.
        Records have no running jobs. A key that is held here stays with its holder."""

    def tick(self, schedule: str, due: int, jobs: Sequence[Job]) -> bool:
        """Record that the schedule has come to its tick ``due``, and post the jobs; False, and nothing
        done, if it has come there, or further, already."""

    def ticks(self) -> dict[str, int]:
        """The newest recorded tick of each schedule."""

    def limit(self, capacities: Mapping[str, int | None], rates: Mapping[str, Rate | None] = NO_RATES) -> None:
        """Set named capacities and rates (None removes one). Holds of running jobs never sum above
        a capacity, and within no stretch of time as long as a rate's do more jobs start than it says.

        Every job holds one unit of ``queue:NAME`` for its queue and of ``task:NAME`` for its task; 0
        pauses the queue or task. These names, and those of `Job.holds` that begin with ``key:``, have no
        bounds unless they are set (`ostinato.rules.unbounded`); any other name without a capacity has none to
        give. A rate counts the starts of jobs that hold its name, whatever their units, since it was set: one
        that is removed forgets them, one that is changed does not.
        """

    def rates(self) -> dict[str, Rate]:
        """All rates that are set."""

    def keep(self, entries: Sequence[Entry]) -> list[bool]:
        """Write entries: each by itself, if its ``version`` still is the stored one (0: there is none);
        tells which. The stored version rises by one. A ``value`` of None removes the entry. Who
        hears ``orders`` hears of it."""

    def entries(self, kind: str) -> list[Entry]:
        """All entries of this kind, by name."""

    def limits(self) -> dict[str, int]:
        """All named capacities that are set."""

    # the loop

    def claim(self, executor_id: str, want: Want) -> Claimed:
        """Give the executor jobs that are due, of tasks and queues that it takes, fitting its
        slots and all capacities: highest priority first, among equals in post order (a ``front``
        job before all others of its priority, newest first).

        Each becomes running: attempt + 1, token + 1, lease until now + ``want.lease``,
        owned by the executor. First all that time brings is applied: scheduled jobs come due,
        jobs near their deadline are promoted to HIGH (``promote_at``; nobody is lowered, and a
        retried job is promoted again), jobs past ``expires_at`` that never started end as expired; one
        that has a `Job.default` succeeds with it. A time has come when it is not later than now.
        """

    def renew(self, executor: ExecutorInfo, fences: Sequence[Fence], lease: int) -> Renewal:
        """A sign of life: record the executor and extend its runs. A lease of 0 says goodbye:
        the executor is forgotten (its remaining runs can then be rescued by name)."""

    def note(self, notes: Sequence[Note]) -> list[bool]:
        """Record the notes whose fence still holds; tells which."""

    def finish(self, ends: Sequence[tuple[Fence, End]]) -> list[bool]:
        """Per job one atomic step: leave ``running`` for ``End.state``, record the attempt, store
        its posts. False where the fence is stale: nothing was done. A finish that was applied
        before answers True and does nothing more, also when the job has been claimed again since.
        A job that becomes ready again keeps its place in post order. One that becomes ``blocked``
        waits for `End.after`, of which its posts may be a part.

        A cancel that was asked for meanwhile wins over another try: if the row is ``cancelling``
        and ``End.state`` is not final, the state becomes ``cancelled``, with the reason
        of the ask, and the posts are dropped.
        """

    def rescue(self, executor_id: str, want: Rescue) -> list[Row]:
        """Take over runs (token + 1, attempt unchanged, a lease of the rescuer's). The rows tell
        the former owner in ``executor_id``. The caller decides and finishes them."""

    # from outside

    def change(self, ids: Sequence[str], ask: Ask) -> list[Changed]:
        """Apply the ask to each job by its state, each by itself."""

    def find(self, query: JobQuery) -> Page:
        """Jobs, whole (with progress and checkpoint). Pages by key, never by offset."""

    def attempts(self, job_ids: Sequence[str]) -> list[Attempt]:
        """All ended attempts of these jobs, by job and number."""

    def executors(self) -> list[ExecutorInfo]:
        """All executors that did not say goodbye, also those whose lease ran out (for as long
        as one of their runs is left, and a day longer)."""

    def count(self) -> list[Count]:
        """Jobs by queue, task, version, slots and state, in this order."""

    # waking

    def listen(self, channels: frozenset[Channel]) -> Listener:
        """A listener that from now on hears these channels, from this and other processes."""


class LogStore(Protocol):
    """Where the logs of ended attempts are kept. ``url`` is its base, free of secrets: the
    location of a log is ``url + "/" + key``. All verbs may be called from any thread."""

    url: str

    def put(self, key: str, path: str) -> None:
        """Store the file under the key, replacing what is there; once it returns, the log is
        safe. The file itself is left in place. Raises OSError or an error of the driver."""

    def get(self, key: str) -> bytes:
        """The whole log. Raises `ostinato.errors.LogUnavailable` if there is none."""

    def delete(self, key: str) -> None:
        """Remove it; no error if there is none."""

    def close(self) -> None:
        """Release everything."""


@runtime_checkable
class PostsAndClaims(Protocol):
    """Optional, for stores where every write costs: a post and a claim as one atomic step.

    An executor that posts and has room uses it. What it may claim is what a claim right after
    the post could: perhaps other jobs than those posted, perhaps none.
    """

    def post_and_claim(self, jobs: Sequence[Job], executor_id: str, want: Want) -> tuple[list[Posted], Claimed]:
        """`Store.post`, then `Store.claim`. It may leave to the next claim what time brings."""


@runtime_checkable
class PostsWithin(Protocol):
    """Optional, for stores in a database that the application uses too."""

    def post_within(self, session: object, jobs: Sequence[Job]) -> list[Posted]:
        """`Store.post` inside the caller's transaction: the jobs are there with its commit, of which the
        listeners then hear, and never were with its rollback. Raises ConfigError, and does nothing, if
        the session is not one on the store's own database."""


@runtime_checkable
class TellsPaces(Protocol):
    """Optional, for who wants to know why a job waits."""

    def paces(self) -> dict[str, int]:
        """The rates that let no job start now, each with the time when it lets the next one."""


class Migration(Struct, frozen=True):
    """How a store comes from one version of its schema (None: it has none yet) to another: by these
    statements, in this order."""

    before: int | None
    after: int
    statements: list[str]


@runtime_checkable
class Migrates(Protocol):
    """Optional, for stores whose schema has versions."""

    def migrate(self, *, run: bool = True) -> Migration:
        """Bring the store to the version of this release, whether `open` may do so or not; ``run``
        False: only tell how. No statements: there is nothing to do. The store needs not be open.
        Raises StoreUnavailable or StoreCorrupt."""
