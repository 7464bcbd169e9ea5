"""Batched completion: outcomes become ends, and one write stores many.

When idle, the first outcome goes at once; when busy, those that end within a few milliseconds
gather for the next write.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from msgspec.structs import replace

from ostinato.errors import StoreError
from ostinato.keys import Keys
from ostinato.lifecycle import decide, unstorable
from ostinato.model import End, Fence, Job, Outcome, Row
from ostinato.patience import Patience
from ostinato.storage import Store

log = logging.getLogger("ostinato.settler")

T = TypeVar("T")

BATCH = 512
GATHER = 0.004
"""Seconds that outcomes gather for one write after a write has just been made."""

Ended = tuple[Row, Outcome, End]


class Settler:
    """A thread that finishes runs in the store, whatever it takes."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        settled: Callable[[list[Ended]], None],
        refused: Callable[[list[tuple[Row, Outcome]]], None],
        quiet: Callable[[], None],
        followers: Callable[[Row, End], tuple[Job, ...]] = lambda row, end: (),
    ) -> None:
        self._store = store
        self._keys = keys
        self._on_settled = settled
        self._on_refused = refused
        self._on_quiet = quiet
        self._followers = followers
        self._changed = threading.Condition()
        self._waiting: list[tuple[Row, Outcome]] = []
        self._writing = False
        self._closing = False
        self._wrote_at = 0.0
        self._patience = Patience("finish")
        self._thread = threading.Thread(target=self._work, name="ostinato-settler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, row: Row, outcome: Outcome) -> None:
        """From any thread: this run ended so."""
        with self._changed:
            self._waiting.append((row, outcome))
            if not self._writing:
                self._changed.notify()

    def is_quiet(self) -> bool:
        return not self._waiting and not self._writing

    def close(self, timeout: float) -> bool:
        """Finish what is there; False if the store did not take it within ``timeout`` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                if not self._waiting:
                    self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                self._writing = True
            self._gather()
            with self._changed:
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            try:
                self._settle(batch)
            except Exception:
                log.exception("the settler stumbled; it goes on")
            self._wrote_at = time.monotonic()
            if not self._waiting:
                self._writing = False
                self._on_quiet()

    def _gather(self) -> None:
        """Wait a little if the last write is hardly over, and not many have gathered meanwhile."""
        if time.monotonic() - self._wrote_at < GATHER and len(self._waiting) < BATCH // 8 and not self._closing:
            time.sleep(GATHER)

    def _settle(self, batch: list[tuple[Row, Outcome]]) -> None:
        now = self._patiently(self._store.now)
        ended = [(row, outcome, self._followed(row, _decided(row, outcome, now))) for row, outcome in batch]
        posts = [job for _, _, end in ended for job in end.posts]
        if posts:
            self._patiently(partial(self._keys.declare, posts))
        accepted = self._finish([(row.fence, end) for row, _, end in ended])
        self._on_settled([one for one, ok in zip(ended, accepted, strict=True) if ok])
        refused = [(row, outcome) for (row, outcome, _), ok in zip(ended, accepted, strict=True) if not ok]
        if refused:
            self._on_refused(refused)

    def _followed(self, row: Row, end: End) -> End:
        """With what is to be posted in the same step because the job has ended so."""
        jobs = self._followers(row, end)
        return replace(end, posts=(*end.posts, *jobs)) if jobs else end

    def _finish(self, ends: list[tuple[Fence, End]]) -> list[bool]:
        while True:
            try:
                return self._patiently(partial(self._store.finish, ends))
            except Exception as error:
                if len(ends) > 1:  # find the one that the store refuses
                    return [self._finish([one])[0] for one in ends]
                log.exception("job %s: the store refuses its outcome", ends[0][0].job_id)
                fence, end = ends[0]
                if end.reason == "outcome refused by the store":
                    raise
                ends = [(fence, unstorable(end, str(error)))]

    def _patiently(self, call: Callable[[], T]) -> T:
        """Call the store until it answers."""
        while True:
            try:
                answer = call()
            except StoreError as error:
                with self._changed:
                    if self._closing:
                        self._changed.wait(0.2)
                    else:
                        self._changed.wait_for(lambda: self._closing, self._patience.failed(error))
            else:
                self._patience.worked()
                return answer


def _decided(row: Row, outcome: Outcome, now: int) -> End:
    """One row that cannot be decided must not cost the others of its batch their outcome."""
    try:
        return decide(row, outcome, now)
    except Exception:
        log.exception("job %s: no next state follows from its outcome %r", row.job.id, outcome.kind)
        return decide(row, Outcome(kind="unreadable", reason="its outcome cannot be read", ended_at=now), now)
