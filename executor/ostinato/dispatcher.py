"""The loop: wait, claim a batch, run it in slots.

    post(), other executors ── "ready" ──► listener of the store
                                              │ wait
                                              ▼
       a slot is free again ── wake ──► dispatcher thread ── claim ──► store
                ▲                             │ run
                │                             ▼
                └──────── done(run, outcome), from any thread ◄── runners
                                              └──► settler

The dispatcher knows the next due time; one wait serves newcomers, freed slots, the next due job
and a slow safety poll.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from ostinato import clock
from ostinato.errors import StoreError
from ostinato.keys import Keys
from ostinato.load import Load
from ostinato.model import DUE, SECOND, Job, Outcome, Rise, Row
from ostinato.patience import Patience
from ostinato.records import Records
from ostinato.runners import Run, Runners, Why
from ostinato.storage import Claimed, Listener, Posted, PostsAndClaims, Store, Want
from ostinato.task import registry
from ostinato.wire import Order

log = logging.getLogger("ostinato.dispatcher")

BATCH = 256
"""The most jobs of one claim."""
MAX_PACE = 0.005
"""The longest pause (seconds) between two claims of a busy executor."""
RUNNER_PAUSE = 5 * SECOND
"""A job whose runner cannot be started is put back for so long (microseconds)."""
BUILT_IN = {"ostinato.script": 1, "ostinato.command": 1}


def known_tasks(hears_due: bool) -> dict[str, int]:
    """The tasks that this process can run, each with the newest version it accepts."""
    known = {**{name: task.version for name, task in registry.items()}, **BUILT_IN}
    return {**known, DUE: 1} if hears_due else known


class Dispatcher:
    """Claims what there is room for, and runs it."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        ear: Listener,
        executor_id: str,
        want: Want,
        runners: Runners,
        load: Load,
        *,
        poll: int,
        rise: Rise,
        max_payload: int,
        log_path: Callable[[str, int], str],
        started: Callable[[Run], None],
        said: Callable[[Run, str, str], None],
        ended: Callable[[Run, Outcome], None],
        expired: Callable[[Row], None],
        settled: Callable[[], bool],
        idle: Callable[[], None],
        orders: Callable[[], None],
        last_completed: Callable[[str], int | None],
        hears_due: Callable[[], bool],
    ) -> None:
        self._store = store
        self._keys = keys
        self._ear = ear
        self._executor_id = executor_id
        self._want = want
        self._runners = runners
        self._load = load
        self._poll = poll
        self._rise = rise
        self._max_payload = max_payload
        self._log_path = log_path
        self._on_started = started
        self._on_said = said
        self._on_ended = ended
        self._on_expired = expired
        self._settled = settled
        self._on_idle = idle
        self._on_orders = orders
        self._last_completed = last_completed
        self._hears_due = hears_due
        self._records = Records(store)
        # A Ctrl-C between two steps of `Condition.__enter__` would leave the lock taken for ever; that of
        # a lock is one step. So the lock is entered itself, and the condition only waited for.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._running: dict[str, Run] = {}
        self._free = want.capacity
        self._dirty = True
        self._claims = 0
        self._sleeping = False
        self._short = False
        self._was_idle = False
        self._ended = False
        self._waiters = 0
        self._drained = False
        self._draining = False
        self._drain_until = math.inf
        self._next_at: int | None = None
        self._poll_at = 0.0
        self._busy_until = 0.0
        self._known: tuple[int, bool] | None = None
        self._tasks: Mapping[str, int] = {}
        self._patience = Patience("claim")
        self._thread = threading.Thread(target=self._work, name="ostinato-dispatcher", daemon=True)

    # from other threads

    def start(self) -> None:
        self._thread.start()

    def post(self, jobs: Sequence[Job]) -> list[Posted]:
        """Post; and if there is room, and the store can, claim in the same write and begin at once,
        without a way through the dispatcher's thread."""
        store = self._store
        self._keys.declare(jobs)
        reserved = self._reserve(sum(job.slots for job in jobs)) if isinstance(store, PostsAndClaims) else 0
        if not reserved or not isinstance(store, PostsAndClaims):
            posted = store.post(jobs)
            self.posted()
            return posted
        rows: list[Row] = []
        try:
            posted, claimed = store.post_and_claim(jobs, self._executor_id, self._now_wanted(reserved))
            rows = claimed.rows
            for row in rows:
                self._begin(row)
        finally:
            with self._lock:
                if len(rows) < len(jobs):
                    self._dirty = True
                self._release(reserved, rows)
            self.check_idle()
        return posted

    def _reserve(self, slots: int) -> int:
        """Take at most so many free slots for a claim; how many."""
        with self._lock:
            self._was_idle = False
            reserved = 0 if self._draining or self._load.watched else min(self._free, slots)
            self._free -= reserved
            self._claims += reserved > 0
            return reserved

    def _release(self, reserved: int, rows: Sequence[Row]) -> None:
        """With the lock held: give back what a claim has not used."""
        self._claims -= 1
        self._free += reserved - sum(row.job.slots for row in rows)
        if self._dirty:
            self._wake()
        if not self._claims and not self._running:
            self._changed.notify_all()

    def posted(self) -> None:
        """Something was posted here. The store wakes the listener; this is for `wait_idle`."""
        with self._lock:
            self._dirty = True
            self._was_idle = False
            if self._waiters:  # it may have run and ended already, and the dispatcher gone to sleep
                self._wake()

    def ended(self) -> None:
        """A job has ended for good. Others may have waited for that: it is not idle before it has looked."""
        self._ended = True

    def look_again(self) -> None:
        """What this executor can take has changed; a claim that is under way does not know it yet."""
        with self._lock:
            self._dirty = True
            self._was_idle = False
            self._wake()

    def due(self, at: int) -> None:
        """Something will be claimable then (microseconds)."""
        with self._lock:
            if self._next_at is None or at < self._next_at:
                self._next_at = at
                self._wake()

    def _wake(self) -> None:
        """With the lock held: end the wait of the dispatcher thread."""
        if self._sleeping:
            self._sleeping = False
            self._ear.wake()

    def running(self) -> list[Run]:
        with self._lock:
            return list(self._running.values())

    def find(self, job_id: str) -> Run | None:
        return self._running.get(job_id)

    def busy(self) -> int:
        """Slots in use."""
        return sum(run.row.job.slots for run in self.running())

    def stop_run(self, run: Run, why: Why, grace: int) -> None:
        self._runners.get(run.row.job.policy.runner).stop(run, why, grace)

    def wait_idle(self, timeout: float | None) -> bool:
        """Block until nothing runs and nothing is claimable; False after ``timeout`` seconds."""
        with self._lock:
            self._waiters += 1
            if self._dirty:
                self._wake()
            try:
                return self._changed.wait_for(lambda: self._was_idle or self._draining, timeout)
            finally:
                self._waiters -= 1

    def check_idle(self) -> None:
        """Called when all outcomes are settled."""
        with self._lock:
            quiet = not (self._dirty or self._claims or self._running or self._was_idle) and self._settled()
            if not quiet:
                return
            if self._ended and not self._draining:
                self._dirty = True
                self._wake()
                return
            self._was_idle = True
            self._changed.notify_all()
        self._on_idle()

    def drain(self, grace: float) -> None:
        """Claim nothing more; let what runs end within ``grace`` seconds, then stop it."""
        with self._lock:
            self._draining = True
            self._wake()
            self.hurry(grace)
        if self._thread is not threading.current_thread():
            self._thread.join(10)  # a claim may be under way: what it brings is stopped with the others
        with self._lock:
            while (self._running or self._claims) and (left := self._drain_until - time.monotonic()) > 0:
                self._changed.wait(left)
            self._drained = True
        for run in self.running():
            self.stop_run(run, "shutdown", min(run.row.job.policy.grace, SECOND))
        with self._lock:
            if not self._changed.wait_for(lambda: not (self._running or self._claims), 5):
                log.error("%d attempts do not end; they are left to the others", len(self._running))

    def hurry(self, grace: float) -> None:
        """While draining: what runs now has at most ``grace`` seconds more."""
        with self._lock:
            self._drain_until = min(self._drain_until, time.monotonic() + grace)
            self._changed.notify_all()

    # the dispatcher thread

    def _work(self) -> None:
        while not self._draining:
            try:
                reserved = self._wait()
            except StoreError as error:  # it does not even tell the time
                self._pause(self._patience.failed(error))
                continue
            if reserved:
                self._fill(reserved)
                self.check_idle()

    def _fill(self, reserved: int) -> None:
        """Claim for the free slots, and begin what was claimed."""
        rows: list[Row] = []
        asked = clock.steady()
        try:
            rows = self._claim(reserved)
            late = clock.steady() - asked >= self._want.lease
            for row in rows:
                self._begin(row, late)
        except Exception:
            log.exception("the dispatcher stumbled; it goes on")
            self._pause(1.0)
        finally:
            with self._lock:
                self._release(reserved, rows)

    def _wait(self) -> int:
        """Until there may be something to claim and room for it: so many slots; 0 to end."""
        while True:
            with self._lock:
                if self._draining:
                    return 0
                if self._should_claim():
                    self._dirty = self._ended = False
                    reserved, self._free = self._free, 0
                    self._claims += 1
                    return reserved
                seconds = self._seconds()
                self._sleeping = True
            heard = self._ear.wait(seconds)
            with self._lock:
                self._sleeping = False
                if "ready" in heard:
                    self._dirty = True
                    self._was_idle = False
            if "orders" in heard:
                self._on_orders()

    def _should_claim(self) -> bool:
        if self._free <= 0 or self._busy_until > time.monotonic():
            return False
        if not (self._dirty or time.monotonic() >= self._poll_at or self._is_due()):
            return False
        pause = self._load.pause()
        if pause > 0:
            self._busy_until = time.monotonic() + pause
        return pause <= 0

    def _is_due(self) -> bool:
        return self._next_at is not None and self._next_at <= self._store.now()

    def _seconds(self) -> float:
        """How long nothing needs to be claimed, as far as is known."""
        if self._free <= 0:
            return 3600.0
        held = self._busy_until - time.monotonic()
        if self._dirty or held > 0:
            return max(0.0, held)
        seconds = self._poll_at - time.monotonic()
        if self._next_at is not None:
            seconds = min(seconds, (self._next_at - self._store.now()) / SECOND)
        return max(0.0, seconds)

    def _claim(self, free: int) -> list[Row]:
        want = self._now_wanted(free)
        asked = time.monotonic()
        try:
            claimed = self._store.claim(self._executor_id, want)
        except StoreError as error:
            self._pause(self._patience.failed(error))
            return []
        self._patience.worked()
        self._pace(claimed, time.monotonic() - asked)
        self._look_ahead(claimed, free)
        for row in claimed.expired:
            self._on_expired(row)
        return claimed.rows

    def _now_wanted(self, free: int) -> Want:
        known = len(registry), self._hears_due()
        if known != self._known:
            self._known, self._tasks = known, known_tasks(known[1])
        want = self._want
        return Want(
            tasks=self._tasks,
            queues=want.queues,
            slots=free,
            capacity=want.capacity,
            count=min(free, BATCH),
            lease=want.lease,
        )

    def _pace(self, claimed: Claimed, took: float) -> None:
        """While jobs run and more of them wait, claims take a third of the time at most: slots
        that become free meanwhile are filled by one claim."""
        if claimed.rows and self._running:
            self._busy_until = time.monotonic() + min(2 * took, MAX_PACE)

    def _look_ahead(self, claimed: Claimed, free: int) -> None:
        jitter = random.uniform(0.8, 1.2)  # noqa: S311 - so that executors do not poll in step
        with self._lock:
            self._next_at = claimed.next_at
            self._poll_at = time.monotonic() + self._poll / SECOND * jitter
            self._short = free < self._want.capacity
            if self._short and self._free > 0:  # slots were given back while the store looked
                self._dirty = True
            if claimed.rows:  # there may be more
                self._dirty = True
                self._was_idle = False

    def _begin(self, row: Row, late: bool = False) -> None:
        """``late``: the lease may be over already, because the claim took that long or we were frozen
        in the middle of it. Others may have the job; if not, it is handed back."""
        run = Run(
            row, registry.get(row.job.task), self._order(row), self._on_said, self.post, self._done, self._records
        )
        with self._lock:
            self._running[row.job.id] = run
            drained = self._drained
        if drained or late:
            reason = "the executor was stopped" if drained else "the claim took longer than the lease"
            now = clock.now()
            run.end(Outcome(kind="interrupted", reason=reason, logged=False, started_at=now, ended_at=now))
            return
        self._on_started(run)
        try:
            self._runners.get(row.job.policy.runner).run(run)
        except Exception as error:
            log.exception("the %s runner cannot run job %s", row.job.policy.runner, row.job.id)
            reason = f"the {row.job.policy.runner} runner of executor {self._executor_id} failed: {error}"
            run.end(Outcome(kind="snooze", reason=reason, delay=RUNNER_PAUSE, logged=False, ended_at=clock.now()))

    def _order(self, row: Row) -> Order:
        job, policy = row.job, row.job.policy
        task = registry.get(job.task)
        return Order(
            job_id=job.id,
            token=row.token,
            attempt=row.attempt,
            task=job.task,
            args=job.args,
            version=job.version,
            kind=job.kind,
            ref=None if task is None else task.ref,
            queue=job.queue,
            tags=job.tags,
            schedule=job.schedule,
            tick=job.tick,
            last_completed=None if job.schedule is None else self._last_completed(job.schedule),
            checkpoint=row.checkpoint,
            steps=row.steps,
            log=self._log_path(job.id, row.attempt),
            memory=policy.memory,
            cpu=policy.cpu,
            files=policy.files,
            nice=policy.nice,
            max_payload=self._max_payload,
            rise=self._rise,
        )

    def _done(self, run: Run, outcome: Outcome) -> None:
        """From any thread: the attempt has ended, its slots are free."""
        self._on_ended(run, outcome)
        with self._lock:
            if self._running.get(run.row.job.id) is run:  # else it was lost, and is made again here
                del self._running[run.row.job.id]
            self._free += run.row.job.slots
            if self._short:
                self._dirty = True
            if self._dirty:
                self._wake()
            if not self._running:
                self._changed.notify_all()

    def _pause(self, seconds: float) -> None:
        with self._lock:
            self._dirty = True
            self._changed.wait_for(lambda: self._draining, seconds)
