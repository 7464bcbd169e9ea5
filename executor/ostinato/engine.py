"""A started executor: the rooms wired together, each outcome handed on.

dispatcher ─► runners ─► ended ─► settler ─► settled ─► events, endings
                                      └──────────────► uploader (the attempt's log)
keeper ─► lost leases, cancels ─► runners;  rescued runs ─► settler
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from ostinato import clock, host, pino
from ostinato.bounds import Bounds
from ostinato.codec import decode
from ostinato.config import Config
from ostinato.deadlines import missed_during, missed_first_at
from ostinato.dispatcher import Dispatcher, known_tasks
from ostinato.endings import Endings
from ostinato.errors import StoreError
from ostinato.events import Events
from ostinato.ids import new_id
from ostinato.keeper import Keeper
from ostinato.keys import Keys
from ostinato.lifecycle import lost
from ostinato.load import Load
from ostinato.logs import Spool, close_log, log_name
from ostinato.model import END_EVENTS, FINAL, SECOND, Attempt, End, Event, EventKind, ExecutorInfo, Fence, Outcome, Row
from ostinato.runners import Run, Runner, Runners, make_runner
from ostinato.settler import Ended, Settler
from ostinato.storage import JobQuery, LogStore, Note, Store, Want
from ostinato.task import registry
from ostinato.ticker import Ticker
from ostinato.uploader import Uploader

log = logging.getLogger("ostinato")

FLUSH = 5.0
"""Seconds that a stop waits for logs to be uploaded; the rest is left for the next start."""


class Engine:
    """Everything that runs between start and stop. Its executor id is new each time."""

    def __init__(
        self,
        config: Config,
        store: Store,
        log_store: LogStore,
        spool: str,
        events: Events,
        endings: Endings,
        keys: Keys,
    ) -> None:
        self.id = new_id()
        self._config = config
        self._store = store
        self._events = events
        self._endings = endings
        self._started_at = clock.now()
        self._log_store = log_store
        self._spool = Spool(spool, self.id)
        self._bounds = Bounds(head=config.max_log // 2, tail=config.max_log // 2)
        self._ear = store.listen(frozenset({"ready", "orders"}))
        self._runners = Runners(self._make_runner)
        self.ticker = Ticker(store, config.rise, keys)
        self._load = Load(config.marks, changed=lambda: self._keeper.hurry())
        self._settler = Settler(store, keys, self._settled, self._refused, self._quiet, self.ticker.followers)
        self._uploader = Uploader(
            log_store, store.note, self._spool, self._uploaded, running=self._running_logs, bounds=self._bounds
        )
        self.dispatcher = Dispatcher(
            store,
            keys,
            self._ear,
            self.id,
            Want(tasks={}, queues=config.queues, capacity=config.slots, lease=config.lease),
            self._runners,
            self._load,
            poll=config.poll,
            rise=config.rise,
            max_payload=config.max_payload,
            log_path=self._spool.path,
            started=self._started,
            said=self._said,
            ended=self._ended,
            expired=self._expired,
            settled=self._settler.is_quiet,
            idle=self._idle,
            orders=self._hear_orders,
            last_completed=self.ticker.last_completed,
            hears_due=lambda: events.listens("due"),
        )
        self._keeper = Keeper(
            store,
            lease=config.lease,
            keep=config.keep,
            info=self.info,
            running=self.dispatcher.running,
            renewed=self._runners.beat,
            lost_lease=self._lost_lease,
            cancelling=self._cancelling,
            rescued=self._rescued,
            forget_logs=self._forget_logs,
        )
        self._draining = False

    def start(self) -> None:
        """Begin to keep leases, then to claim. Raises StoreError if the store is not there."""
        self._keeper.start()
        self._settler.start()
        self._uploader.start()
        for name in {task.policy.runner for task in registry.values()} & {"subprocess", "pool"}:
            self._runners.get(name)
        self.ticker.start()
        self.dispatcher.start()

    def stop(self, grace: float) -> None:
        """Drain, hand back the rest, say goodbye."""
        self._draining = True
        self.ticker.close()
        self.dispatcher.drain(grace)
        if not self._settler.close(self._config.lease / SECOND):
            log.error("the store did not take the last outcomes; these jobs will be run again")
        self._runners.close()
        self._keeper.close()
        self._uploader.stop(FLUSH)
        self._ear.close()
        self._spool.close()

    def info(self) -> ExecutorInfo:
        return ExecutorInfo(
            id=self.id,
            host=host.HOST,
            name=self._config.name or host.NAME,
            pid=os.getpid(),
            process=host.started(os.getpid()),
            started_at=self._started_at,
            slots=self._config.slots,
            busy=self.dispatcher.busy(),
            queues=self._config.queues,
            tasks=known_tasks(self._events.listens("due")),
            spool=self._spool.root,
            log_store=self._log_store.url,
            draining=self._draining,
            overloaded=self._load.why,
        )

    def _hear_orders(self) -> None:
        self._keeper.hurry()
        self.ticker.hurry()

    def listens(self) -> None:
        """Somebody listens for ``due``, or no longer does: tell the others, and claim such jobs."""
        self._keeper.hurry()
        self.dispatcher.look_again()

    def cancel(self, job_id: str) -> None:
        """If the job runs here, tell it at once instead of at the next sign of life."""
        run = self.dispatcher.find(job_id)
        if run is not None:
            self._keeper.hurry()

    # the runs

    def _make_runner(self, name: str) -> Runner:
        if name == "notice":
            from ostinato.runners.notice import NoticeRunner  # only who posts events pays for it

            return NoticeRunner(self._events, self.id)
        return make_runner(
            name, slots=self._config.slots, start_method=self._config.start_method, check_log=self._bounds.check
        )

    def _started(self, run: Run) -> None:
        if self._wants("start"):
            self._emit(Event(kind="start", executor_id=self.id, at=clock.now(), **_names(run.row)))
        self._check_deadline(run.row, run.row.started_at)

    def _said(self, run: Run, key: str, value: str) -> None:
        note = Note(run.row.job.id, run.row.token, run.row.attempt, key, value)  # type: ignore[arg-type]
        try:
            self._store.note([note])
        except StoreError as error:
            log.warning("job %s: its %s could not be stored: %s", run.row.job.id, key, error)
        if key == "progress" and self._wants("progress"):
            said = decode(value)
            progress = (said["done"], said["total"], said["message"])
            self._emit(
                Event(kind="progress", executor_id=self.id, at=clock.now(), progress=progress, **_names(run.row))
            )

    def _ended(self, run: Run, outcome: Outcome) -> None:
        self._settler.put(run.row, outcome)

    def _settled(self, ended: list[Ended]) -> None:
        final = [row.job.id for row, _, end in ended if end.state in FINAL]
        self._endings.ended(final)
        if final:
            self.dispatcher.ended()
        for row, outcome, end in ended:
            if end.state == "succeeded":
                self.ticker.completed(row, outcome.ended_at)
            else:
                self.ticker.unmet(row, end)
            if end.state == "scheduled":
                self.dispatcher.due(end.run_at)
            if end.state == "ready" or end.posts:
                self.dispatcher.posted()
            if self._wants("deadline_missed") and missed_during(row, end.attempt):
                self._missed(row)
            if end.state == "waiting":
                log.error("job %s (%s) is parked: %s", row.job.id, row.job.task, end.reason)
            elif end.state != "blocked" and self._wants(END_EVENTS.get(end.state, "retry")):
                self._report(row, outcome, end)
        self._hand_over([(row, outcome) for row, outcome, _ in ended])

    def _refused(self, ended: list[tuple[Row, Outcome]]) -> None:
        for row, _ in ended:
            log.warning(
                "job %s attempt %d: its lease was lost, so its outcome is refused; another executor has the job",
                row.job.id,
                row.attempt,
            )
        self._hand_over(ended, lost=True)

    def _hand_over(self, ended: list[tuple[Row, Outcome]], lost: bool = False) -> None:
        """Let the logs be uploaded of all attempts that were made here."""
        made_here = [one for one in ended if one[1].logged and one[0].executor_id == self.id]
        self._uploader.put_all((self._close_log(*one) for one in made_here), lost=lost)

    def _close_log(self, row: Row, outcome: Outcome) -> tuple[str, int, int, str]:
        """The attempt's log is complete: say how it ended. Returns what the uploader needs."""
        path = self._spool.path(row.job.id, row.attempt)
        bindings = {"job": row.job.id, "attempt": row.attempt, "task": row.job.task}
        self._bounds.seal(path, bindings)
        fields = {
            "outcome": outcome.kind,
            "exit_code": outcome.exit_code,
            "signal": outcome.signal,
            "cpu_ms": None if outcome.cpu is None else outcome.cpu // 1000,
            "peak_memory": outcome.peak_memory,
        }
        text = f"attempt {row.attempt} ended: {outcome.reason or outcome.kind}"
        level = pino.INFO if outcome.kind in ("success", "snooze", "suspended") else pino.ERROR
        close_log(path, bindings, level, text, {key: value for key, value in fields.items() if value is not None})
        return row.job.id, row.attempt, row.token, path

    def _uploaded(self, job_id: str, attempt: int, url: str) -> None:
        if self._wants("log_uploaded"):
            event = Event(
                kind="log_uploaded", executor_id=self.id, at=clock.now(), job_id=job_id, attempt=attempt, log=url
            )
            self._emit(event)

    def _running_logs(self) -> list[tuple[str, int, str]]:
        return [(run.row.job.id, run.row.attempt, run.log_path or "") for run in self.dispatcher.running()]

    def _quiet(self) -> None:
        self.dispatcher.check_idle()

    # what the keeper hears

    def _lost_lease(self, fence: Fence) -> None:
        run = self.dispatcher.find(fence.job_id)
        if run is not None and run.fence == fence:
            log.error("job %s attempt %d: its lease was lost; its process is killed", run.row.job.id, run.row.attempt)
            self.dispatcher.stop_run(run, "lost", 0)

    def _cancelling(self, fence: Fence) -> None:
        run = self.dispatcher.find(fence.job_id)
        if run is not None and run.fence == fence and run.why is None:
            for row in self._store.find(JobQuery(ids=(fence.job_id,))).rows:
                run.cancel_reason = row.reason
            self.dispatcher.stop_run(run, "cancel", run.row.job.policy.grace)

    def _rescued(self, rows: Sequence[Row]) -> None:
        """The logs of lost attempts are in the spools of lost executors, and adopted from there. One
        that was lost before it wrote anything has none, which is recorded with its end."""
        spools = self._spools_here()
        for row in rows:
            spool = spools.get(row.executor_id or "")
            silent = spool is not None and not os.path.exists(f"{spool}/{log_name(row.job.id, row.attempt)}")
            outcome = replace(lost(row, clock.now()), logged=not silent)
            if self._wants("rescue"):
                event = Event(kind="rescue", executor_id=self.id, at=clock.now(), reason=outcome.reason, **_names(row))
                self._emit(event)
            self._settler.put(row, outcome)

    def _spools_here(self) -> dict[str, str]:
        """Where the executors of this host keep their logs. None, if the store does not say: their
        logs are looked for later then."""
        try:
            return {one.id: f"{one.spool}/{one.id}" for one in self._store.executors() if one.host == host.HOST}
        except StoreError:
            return {}

    def _forget_logs(self, urls: Sequence[str]) -> None:
        base = self._log_store.url + "/"
        for url in urls:
            if url.startswith(base):
                try:
                    self._log_store.delete(url[len(base) :])
                except Exception as error:
                    log.warning("the log %s of a forgotten job could not be deleted: %s", url, error)

    # events

    def _wants(self, kind: EventKind) -> bool:
        return self._events.wants(kind)

    def _emit(self, event: Event) -> None:
        self._events.emit(event)

    def _idle(self) -> None:
        if self._wants("idle"):
            self._emit(Event(kind="idle", executor_id=self.id, at=clock.now()))

    def _expired(self, row: Row) -> None:
        self._endings.ended([row.job.id])
        self._check_deadline(row, row.ended_at)
        if self._wants("expire"):
            self._emit(Event(kind="expire", executor_id=self.id, at=clock.now(), **_names(row)))

    def _check_deadline(self, row: Row, at: int | None) -> None:
        if self._wants("deadline_missed") and missed_first_at(row, at, lambda: self._attempts(row)):
            self._missed(row)

    def _attempts(self, row: Row) -> list[Attempt]:
        try:
            return self._store.attempts([row.job.id])
        except StoreError:
            return []  # told twice is better than not at all

    def _missed(self, row: Row) -> None:
        self._emit(Event(kind="deadline_missed", executor_id=self.id, at=clock.now(), **_names(row)))

    def _report(self, row: Row, outcome: Outcome, end: End) -> None:
        self._emit(
            Event(
                kind=END_EVENTS.get(end.state, "retry"),
                executor_id=self.id,
                at=clock.now(),
                result=None if end.result is None else _result(row, end.result),
                error=end.error,
                reason=end.reason,
                **_names(row),
            )
        )


def _names(row: Row) -> dict[str, Any]:
    return {"job_id": row.job.id, "task": row.job.task, "attempt": row.attempt}


def _result(row: Row, text: str) -> Any:
    task = registry.get(row.job.task)
    return decode(text) if task is None else task.result(text)
