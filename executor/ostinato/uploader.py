"""The uploader: hands the logs of ended attempts to the log store, whatever befalls it.

    put() ─► waiting ─► upload ─► uploaded ─► note (batched) ─► remove the file ─► on_uploaded
               ▲           │ the log store is down: back-off, one probe at a time
    orphans ───┘           └ nothing is removed before its location is recorded

One thread does all of it, so that a snapshot of a running log can never replace the final one.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from ostinato import pino
from ostinato.bounds import Bounds
from ostinato.errors import LogUnavailable
from ostinato.logs import Orphan, Spool, close_log, is_closed, log_key, orphans
from ostinato.outage import Outage, reason_of
from ostinato.snapshots import Running, Snapshots
from ostinato.storage import LogStore, Note

logger = logging.getLogger("ostinato.uploader")

BATCH = 100
LATE_TRIES = 8
"""The location of the log of a lost attempt is recorded when that has been rescued: so often it is tried."""
GATHER = 0.2
"""Seconds that the locations of further logs gather for one write of the store after one was made."""


class UploadState(Struct, frozen=True):
    """What ``doctor`` tells. ``reason`` is empty while uploads and notes work."""

    pending: int
    reason: str = ""
    since: float = 0.0

    def __str__(self) -> str:
        if not self.pending:
            return f"logs uploaded{', but: ' + self.reason if self.reason else ''}"
        logs = "1 log" if self.pending == 1 else f"{self.pending} logs"
        return f"log pending: {logs}{', ' + self.reason if self.reason else ''}"


class _Log(Struct):
    """One log on its way. ``lost``: by an attempt that another executor ends, perhaps only in a moment. ``due``
    holds it back after a failure of its own."""

    job_id: str
    attempt: int
    token: int
    path: str
    orphan: Orphan | None = None
    lost: bool = False
    due: float = 0.0
    tries: int = 0
    url: str = ""


class Uploader:
    """See the module's text. ``note`` records locations in the store and tells which were
    recorded; ``running`` tells the attempts that run now, with the paths of their logs."""

    def __init__(
        self,
        log_store: LogStore,
        note: Callable[[list[Note]], list[bool]],
        spool: Spool,
        on_uploaded: Callable[[str, int, str], object] | None = None,
        *,
        running: Callable[[], Iterable[Running]] = tuple,
        bounds: Bounds | None = None,
        interval: float = 5.0,
        adopt_every: float = 30.0,
        backoff: tuple[float, float] = (0.5, 60.0),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log_store, self._note, self._spool, self._on_uploaded = log_store, note, spool, on_uploaded
        self._bounds, self._clock = bounds or Bounds(), clock
        self._interval, self._adopt_every = interval, adopt_every
        self._upload_trouble, self._note_trouble = Outage(*backoff, clock), Outage(*backoff, clock)
        self._changed = threading.Condition()
        self._waiting: deque[_Log] = deque()
        self._uploaded: deque[_Log] = deque()
        self._open = 0
        self._gather_until = 0.0
        self._stopping = self._hurry = False
        self._next_adoption = 0.0
        self._next_snapshot = clock() + interval
        self._snapshots = Snapshots(log_store, spool.folder, running)
        self._adopted: list[Orphan] = []
        self._parallel: int = getattr(log_store, "parallel", 1)
        self._thread = threading.Thread(target=self._run, name="ostinato-uploader", daemon=True)

    def start(self) -> None:
        """Begin, with the logs that dead executors of this host left behind."""
        self._thread.start()

    def put(self, job_id: str, attempt: int, token: int, path: str) -> None:
        """The attempt has ended and its log is complete: upload it. Never blocks on the log store."""
        with self._changed:
            self._waiting.append(_Log(job_id, attempt, token, path))
            self._open += 1
            self._changed.notify_all()

    def put_all(self, ended: Iterable[tuple[str, int, int, str]], *, lost: bool = False) -> None:
        """The same for several: (job id, attempt, token, path). ``lost``: their outcomes were refused."""
        with self._changed:
            before = len(self._waiting)
            self._waiting.extend(_Log(*one, lost=lost) for one in ended)
            self._open += len(self._waiting) - before
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until all is uploaded and recorded; False if it is not in time."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._open == 0, timeout)

    def stop(self, timeout: float = 0.0) -> bool:
        """Flush for so long, then end; what is left stays on disk for the next start."""
        done = self.flush(timeout) if timeout else self._open == 0
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(max(timeout, 2.0))  # if a put hangs, it may: the threads are daemons
        for orphan in self._adopted:
            orphan.close()
        return done

    def state(self) -> UploadState:
        """How many logs wait, and why."""
        trouble = self._upload_trouble if self._upload_trouble.reason else self._note_trouble
        return UploadState(self._open, trouble.reason, trouble.since if trouble.reason else 0.0)

    # the thread

    def _run(self) -> None:
        while self._sleep():
            for duty in (self._adopt, self._upload, self._record, self._snapshot):
                try:
                    duty()
                except Exception:  # supervised: a bug in one duty must not end the others
                    logger.exception("The uploader goes on after an unexpected error.")
                    self._upload_trouble.failed("unexpected error, see the log of ostinato.uploader")

    def _sleep(self) -> bool:
        """Wait until something is to be done; False to end."""
        with self._changed:
            while not self._stopping:
                if self._hurry:
                    self._hurry = False
                    self._upload_trouble.resume = self._note_trouble.resume = self._gather_until = 0.0
                    for log in self._waiting:
                        log.due = 0.0
                pause = self._next_time() - self._clock()
                if pause <= 0:
                    return True
                self._changed.wait(min(pause, 3600.0))
            return False

    def _next_time(self) -> float:
        times = [self._next_adoption, self._next_snapshot]
        if self._waiting:
            times.append(self._upload_trouble.resume)
            # Rarely more than the first is looked at: there may be very many after a long outage.
            if times[-1] <= self._clock() < self._waiting[0].due:
                times[-1] = min(log.due for log in self._waiting)
        if self._uploaded:
            times.append(max(self._note_trouble.resume, self._gathered_at()))
        return min(times)

    def _adopt(self) -> None:
        if self._clock() < self._next_adoption:
            return
        self._next_adoption = self._clock() + self._adopt_every
        for orphan in orphans(self._spool.root):
            logs = orphan.logs()
            for job_id, attempt, path in logs:
                self._finish_orphan(job_id, attempt, path)
            with self._changed:
                self._waiting.extend(_Log(*log[:2], 0, log[2], orphan, lost=True) for log in logs)
                self._open += len(logs)
            if logs:
                orphan.left = len(logs)
                logger.info("Took over %d logs of an executor that is gone: %s", len(logs), orphan.folder)
                self._adopted.append(orphan)
            else:
                orphan.close()

    def _finish_orphan(self, job_id: str, attempt: int, path: str) -> None:
        if not is_closed(path):
            bindings = {"job": job_id, "attempt": attempt}
            self._bounds.seal(path, bindings)
            text = f"the executor was lost before it could say here how attempt {attempt} ended"
            close_log(path, bindings, pino.ERROR, text, {"outcome": "unknown"})

    def _upload(self) -> None:
        batch = self._take()
        if not batch:
            return
        answers = self._put_all(batch)
        failed = [(log, reason) for log, reason in zip(batch, answers, strict=True) if reason is not None]
        with self._changed:
            self._uploaded.extend(log for log, reason in zip(batch, answers, strict=True) if reason is None)
            for log, _ in failed:  # to the end: one log that cannot be read must not hold back the others
                log.due = self._clock() + self._upload_trouble.pause(log.tries)
                log.tries += 1
                self._waiting.append(log)
        if failed and len(failed) == len(batch):
            if self._upload_trouble.failed(failed[0][1]):
                logger.warning(
                    "Logs cannot be uploaded to %s: %s. They stay in %s until they can; jobs are not delayed.",
                    self._log_store.url, failed[0][1], self._spool.root,
                )  # fmt: skip
            for log, _ in failed:
                log.due = 0.0  # not its own fault
        elif self._upload_trouble.worked():
            logger.info("Logs are uploaded to %s again; %d are waiting.", self._log_store.url, self._open)

    def _take(self) -> list[_Log]:
        """The next logs to upload: one to probe with while the log store is down."""
        now = self._clock()
        if now < self._upload_trouble.resume:
            return []
        count = 1 if self._upload_trouble.reason else BATCH
        with self._changed:
            batch: list[_Log] = []
            for _ in range(len(self._waiting)):
                log = self._waiting.popleft()
                if log.due <= now:
                    batch.append(log)
                    if len(batch) == count:
                        break
                else:
                    self._waiting.append(log)
            for log in batch:
                self._snapshots.ended(log.job_id, log.attempt)
            return batch

    def _put_all(self, batch: Sequence[_Log]) -> list[str | None]:
        """Per log None, or why it failed. Several at once if that helps, in threads that do not
        hold up the end of the program (those of `concurrent.futures` would)."""
        answers: list[str | None] = [None] * len(batch)
        next_one = iter(range(len(batch)))
        turn = threading.Lock()

        def work() -> None:
            while True:
                with turn:
                    at = next(next_one, None)
                if at is None:
                    return
                answers[at] = self._put_one(batch[at])

        helping = min(self._parallel, len(batch)) - 1
        threads = [threading.Thread(target=work, name="ostinato-upload", daemon=True) for _ in range(helping)]
        for thread in threads:
            thread.start()
        work()
        for thread in threads:
            thread.join()
        return answers

    def _put_one(self, log: _Log) -> str | None:
        try:
            if os.path.getsize(log.path) == 0:
                return None
            key = log_key(log.job_id, log.attempt)
            self._log_store.put(key, log.path)
            log.url = f"{self._log_store.url}/{key}"
        except Exception as error:
            if not isinstance(error, FileNotFoundError) or os.path.lexists(log.path):
                return reason_of(error)
            return self._missing(log)
        return None

    def _missing(self, log: _Log) -> str | None:
        """There is no file: another executor has uploaded it, or nothing was ever written."""
        key = log_key(log.job_id, log.attempt)
        try:
            self._log_store.get(key)
        except LogUnavailable:
            return None
        except Exception as error:
            return reason_of(error)
        log.url = f"{self._log_store.url}/{key}"
        return None

    def _gathered_at(self) -> float:
        """When what is uploaded may be recorded: at once if it is many, or after a quiet time."""
        return 0.0 if len(self._uploaded) >= BATCH else self._gather_until

    def _record(self) -> None:
        while self._uploaded and self._clock() >= max(self._note_trouble.resume, self._gathered_at()):
            self._gather_until = self._clock() + GATHER
            batch = [self._uploaded[at] for at in range(min(BATCH, len(self._uploaded)))]
            try:
                recorded = self._note([Note(log.job_id, log.token, log.attempt, "log", log.url) for log in batch])
            except Exception as error:
                if self._note_trouble.failed(f"the store does not record: {reason_of(error)}"):
                    logger.warning("The locations of uploaded logs cannot be recorded: %s. Will try again.", error)
                return
            self._note_trouble.worked()
            for log, known in zip(batch, recorded, strict=True):
                if known or not log.lost or log.tries >= LATE_TRIES:
                    self._done(log, known)
                else:
                    self._later(log)

    def _later(self, log: _Log) -> None:
        """It came before its attempt was ended by who rescued it: nothing is recorded of one that runs."""
        with self._changed:
            self._uploaded.popleft()
            log.due = self._clock() + self._upload_trouble.pause(log.tries)
            log.tries += 1
            self._waiting.append(log)

    def _done(self, log: _Log, known: bool) -> None:
        """Uploaded and recorded (or the job is forgotten, and nobody will ask): now it may go."""
        try:
            os.unlink(log.path)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                logger.warning("Cannot remove the uploaded log %s: %s", log.path, error)
        if log.orphan is not None:
            log.orphan.left -= 1
            if log.orphan.left == 0:
                log.orphan.close()
                self._adopted.remove(log.orphan)
        if known and self._on_uploaded is not None:
            try:
                self._on_uploaded(log.job_id, log.attempt, log.url)
            except Exception:
                logger.exception("on_uploaded failed")
        with self._changed:
            self._uploaded.popleft()
            self._open -= 1
            if self._open == 0:
                self._changed.notify_all()

    def _snapshot(self) -> None:
        if self._clock() >= self._next_snapshot:
            self._next_snapshot = self._clock() + self._interval
            if not self._upload_trouble.reason:
                self._snapshots.take()
