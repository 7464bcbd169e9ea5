"""Signs of life, rescue and retention: what must go on whatever the jobs do.

A thread of its own, so that neither user code nor a slow claim or finish delays a renewal. Every
beat (a third of the lease) it renews all leases in one call, which also answers which are lost,
which jobs to cancel, and who else is alive. It rescues the runs of executors of this host whose
process is gone (looked at every second, without the store), and of those whose lease runs out.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from ostinato import clock, host
from ostinato.errors import StoreError
from ostinato.model import FINAL, SECOND, ExecutorInfo, Fence, Row, State
from ostinato.patience import Patience
from ostinato.runners import Run
from ostinato.storage import Ask, JobQuery, Rescue, Store

log = logging.getLogger("ostinato.keeper")

LOOK = 1.0
"""Seconds between looks at the processes of the other executors of this host."""
CLEAN = 60.0
"""Seconds between rounds of retention."""
PAGE = 500


class Keeper:
    """Keeps the leases of one executor, and takes over those of dead ones."""

    def __init__(
        self,
        store: Store,
        *,
        lease: int,
        keep: dict[str, tuple[int | None, int | None]],
        info: Callable[[], ExecutorInfo],
        running: Callable[[], Sequence[Run]],
        renewed: Callable[[int], None],
        lost_lease: Callable[[Fence], None],
        cancelling: Callable[[Fence], None],
        rescued: Callable[[Sequence[Row]], None],
        forget_logs: Callable[[Sequence[str]], None],
    ) -> None:
        self._store = store
        self._lease = lease
        self._keep = keep
        self._info = info
        self._running = running
        self._on_renewed = renewed
        self._on_lost = lost_lease
        self._on_cancelling = cancelling
        self._on_rescued = rescued
        self._forget_logs = forget_logs
        self._peers: list[ExecutorInfo] = []
        self._dead: set[str] = set()
        self._changed = threading.Condition()
        self._urgent = False
        self._closing = False
        self._patience = Patience("renew")
        self._beat_at = 0.0
        self._rescue_at = 0.0
        self._clean_at = time.monotonic() + CLEAN
        self._thread = threading.Thread(target=self._work, name="ostinato-keeper", daemon=True)

    def start(self) -> None:
        """The first sign of life is given, and what the dead have left is taken over, before this
        returns: an executor that has not looked yet would believe that nothing is left to do."""
        self.beat()
        self._rescue_at = 0.0
        self._turn(urgent=False)
        self._thread.start()

    def hurry(self) -> None:
        """There are orders: ask for them now."""
        with self._changed:
            self._urgent = True
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(10)
        try:
            self._store.renew(self._info(), [], 0)
        except StoreError as error:
            log.warning("no goodbye to the store, it does not answer: %s", error)

    def beat(self) -> None:
        """Renew all leases. Raises StoreError."""
        asked_at = clock.steady()
        fences = [run.fence for run in self._running()]
        renewal = self._store.renew(self._info(), fences, self._lease)
        self._beat_at = time.monotonic() + self._lease / SECOND / 3
        # Counted from before the question: our idea of the lease must end before the store's does.
        # If it is over already (we were stopped meanwhile), the fork server has noticed by itself.
        if asked_at + self._lease > clock.steady():
            self._on_renewed(asked_at + self._lease)
        self._peers = [peer for peer in renewal.peers if peer.id != self._info().id]
        self._plan_rescue(renewal.now)
        for fence in renewal.lost:
            self._on_lost(fence)
        for fence in renewal.cancelling:
            self._on_cancelling(fence)

    # the keeper thread

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._urgent, self._sleep())
                if self._closing:
                    return
                urgent, self._urgent = self._urgent, False
            try:
                self._turn(urgent)
                self._patience.worked()
            except StoreError as error:
                self._pause(self._patience.failed(error))
                self._urgent = True  # what was asked for is still to be done, and only a beat shows that all is well
            except Exception:
                log.exception("the keeper stumbled; it goes on")
                self._pause(1.0)

    def _sleep(self) -> float:
        due = min(self._beat_at, self._rescue_at, self._clean_at)
        neighbours = any(peer.host == host.HOST for peer in self._peers)
        return max(0.0, min(due - time.monotonic(), LOOK if neighbours else 3600.0))

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing, min(seconds, self._lease / SECOND / 6))

    def _turn(self, urgent: bool) -> None:
        if urgent or time.monotonic() >= self._beat_at:
            self.beat()
        dead = tuple(peer.id for peer in self._peers if peer.id not in self._dead and host.is_dead(peer))
        if dead or time.monotonic() >= self._rescue_at:
            self._rescue(dead)
        if time.monotonic() >= self._clean_at:
            self._clean_at = time.monotonic() + CLEAN
            self._clean()

    def _plan_rescue(self, now: int) -> None:
        """Next rescue: when the first lease of another executor would run out, unless renewed. Never
        later than planned: each beat would put it off, for ever if a lease has run out meanwhile."""
        ends = [max(peer.lease_until - now, 0) / SECOND for peer in self._peers if peer.id not in self._dead]
        soonest = min([end + 0.1 for end in ends if end > 0], default=self._lease / SECOND)
        self._rescue_at = min(self._rescue_at, time.monotonic() + soonest)

    def _rescue(self, dead: tuple[str, ...]) -> None:
        want = Rescue(dead=dead, count=PAGE, lease=self._lease)
        rows = self._store.rescue(self._info().id, want)
        self._dead.update(dead)
        self._rescue_at = time.monotonic() + (0.0 if len(rows) == PAGE else self._lease / SECOND)
        for row in rows:
            log.warning("job %s attempt %d: rescued from executor %s", row.job.id, row.attempt, row.executor_id)
        if rows:
            self._on_rescued(rows)
        self._plan_after_rescue()

    def _plan_after_rescue(self) -> None:
        """Look again when the next lease known to us runs out."""
        now = self._store.now()
        ends = [(peer.lease_until - now) / SECOND for peer in self._peers if peer.id not in self._dead]
        self._rescue_at = min([self._rescue_at, *(time.monotonic() + end + 0.1 for end in ends if end > 0)])

    def _clean(self) -> None:
        """Forget ended jobs that are too old or too many."""
        for state, (age, count) in self._keep.items():
            if age is not None:
                self._forget(state, JobQuery(states=(_final(state),), ended_before=self._store.now() - age, limit=PAGE))
            if count is not None:
                self._forget(state, self._beyond(state, count))

    def _beyond(self, state: str, count: int) -> JobQuery | None:
        """The jobs behind the newest ``count`` of this state."""
        cursor: str | None = None
        left = count
        while left > 0:
            page = self._store.find(JobQuery(states=(_final(state),), limit=min(left, PAGE), cursor=cursor))
            if page.next is None:
                return None
            left -= len(page.rows)
            cursor = page.next
        return JobQuery(states=(_final(state),), limit=PAGE, cursor=cursor)

    def _forget(self, state: str, query: JobQuery | None) -> None:
        while query is not None:
            page = self._store.find(query)
            ids = [row.job.id for row in page.rows]
            if ids:
                logs = [attempt.log for attempt in self._store.attempts(ids) if attempt.log]
                self._store.change(ids, Ask(kind="forget"))
                self._forget_logs(logs)
            query = None if page.next is None or self._closing else replace_cursor(query, page.next)


def replace_cursor(query: JobQuery, cursor: str) -> JobQuery:
    from msgspec.structs import replace

    return replace(query, cursor=cursor)


def _final(state: str) -> State:
    if state not in FINAL:
        raise ValueError(state)
    return state  # type: ignore[return-value]
