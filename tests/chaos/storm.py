"""A storm: executors that run jobs in processes of their own, while they and their store are ill-treated.

Meanwhile a schedule ticks every second, limits are changed and the queue is paused now and then.

Everything that happens is written down, for the checker to judge.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import storm_tasks
from members import Worker, survivors
from msgspec.structs import replace
from s3_servers import wait_until
from stores import Place

from ostinato import TaskExecutor, clock
from ostinato.book import Book
from ostinato.errors import StoreError
from ostinato.model import FINAL, SECOND
from ostinato.plugins import open_store
from ostinato.schedule import define
from ostinato.storage import Ask, JobQuery, Store
from ostinato.testing.history import Facts, Fault, History, Log, read
from ostinato.testing.witnesses import Client, keep, still_registered
from ostinato.units import moment

SLOTS = 2
LEASE = 2.0
BATCH = 25
BACKLOG = 60
PATIENCE = 120.0
PAUSE = 0.3

T = TypeVar("T")


class Storm:
    """``jobs`` are posted while it lasts; members and store are hit at a share of them done. The schedule
    has so many ``ticks``."""

    def __init__(self, place: Place, folder: Path, jobs: int, members: int, ticks: int) -> None:
        self.place, self.folder, self.jobs = place, folder, jobs
        self.url = place.named("storm")
        self.ledger = folder / "effects.jsonl"
        self.ledger.touch()
        self.faults = Log(folder / "faults.jsonl")
        self.store: Store = open_store(self.url)
        self.store.open()
        self.store.limit({"gpu": 1})
        self._last_tick = self._schedule(ticks)
        self.children: set[tuple[int, int | None]] = set()
        self.members = [self.member() for _ in range(members)]
        self._feeder = threading.Thread(target=self._feed)
        self._frozen: threading.Thread | None = None
        self._over = False

    def _schedule(self, ticks: int) -> int:
        """Its last tick. Members and store are away at some of them: those are made up."""
        begun = self.store.now()
        last = begun + ticks * SECOND
        job, rules = storm_tasks.work.job(str(self.ledger), 0), {"catch_up": "all", "overlap": "allow"}
        pulse = define("pulse", job, every=1, anchor=begun, end_at=moment(last), **rules)  # type: ignore[arg-type]
        Book(self.store).add(pulse, replacing=False)
        return last

    def __enter__(self) -> Storm:
        self._feeder.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever went wrong, nothing goes on."""
        self._over = True
        for member in self.members:
            if member.process.poll() is None:
                member.kill()
        self.store.close()

    def member(self) -> Worker:
        return Worker(self.url, str(self.folder), str(SLOTS), str(LEASE), program="storm_member.py")

    def _feed(self) -> None:
        executor = TaskExecutor(self.url, log_store=f"{self.folder}/logs", spool=f"{self.folder}/spool")
        client = Client(executor, Log(self.folder / "client.jsonl"), "feeder")
        for start in range(0, self.jobs, BATCH):
            made = [
                replace(
                    storm_tasks.work.job(str(self.ledger), number),
                    holds=(("gpu", 1),) if number % 11 == 5 else (),
                    priority=number % 3,
                )
                for number in range(start, min(start + BATCH, self.jobs))
            ]
            handles = self._insist(lambda made=made: client.post(made))
            unwanted = [handle.id for handle in handles[::12]]
            self._insist(lambda unwanted=unwanted: client.change(self.store, unwanted, Ask(kind="cancel")))
            self._limit(client, start // BATCH)
            wait_until(lambda start=start: self._over or self.done() > start + BATCH - BACKLOG, PATIENCE)
        executor.close()

    def _limit(self, client: Client, batch: int) -> None:
        """Two jobs may have the resource at a time, or one; now and then nothing may start for a moment."""
        self._insist(lambda: client.limit(self.store, {"gpu": 2 - batch % 2}))
        if batch % 4 == 1:
            self._insist(lambda: client.limit(self.store, {"queue:storm": 0}))
            threading.Event().wait(PAUSE)
            self._insist(lambda: client.limit(self.store, {"queue:storm": None}))

    def _insist(self, call: Callable[[], T]) -> T:
        """Again and again while the store is away, as an application would."""
        while not self._over:
            try:
                return call()
            except StoreError:
                threading.Event().wait(0.05)
        raise SystemExit

    def done(self) -> int:
        """How many attempts have done their work, counted without the store."""
        return self.ledger.read_bytes().count(b'"kind":"end"')

    def at(self, share: float) -> None:
        """Wait until such a share of the jobs is done."""
        wait_until(lambda: self.done() >= share * self.jobs * 0.9, PATIENCE)

    # faults

    def kill(self) -> None:
        """The last member, and put another in its place."""
        victim = self.members.pop()
        self.children |= victim.kill()
        self._fault("kill", victim.executor_id, clock.now())
        self.members.append(self.member())

    def freeze(self) -> None:
        """One member stands still for longer than its lease, while all else goes on."""
        if self._frozen is not None:
            self._frozen.join()
        self._frozen = threading.Thread(target=self._freeze, args=(self.members[0],))
        self._frozen.start()

    def _freeze(self, victim: Worker) -> None:
        began = clock.now()
        victim.process.send_signal(signal.SIGSTOP)
        threading.Event().wait(1.5 * LEASE)
        victim.process.send_signal(signal.SIGCONT)
        self._fault("freeze", victim.executor_id, began)
        if not self.url.startswith("redis"):  # it may have had locks all the time, for which the others wait
            self._fault("outage", "", began)

    def restart(self, away: float = 0.3) -> None:
        """The server of the store dies, and is back after so many seconds."""
        if self.place.stop is None or self.place.start is None:
            return
        began = clock.now()
        self.place.stop()
        threading.Event().wait(away)
        self.place.start()
        self._fault("outage", "", began)

    def _fault(self, kind, whom: str, began: int) -> None:  # type: ignore[no-untyped-def]
        self.faults.write(Fault(kind=kind, whom=whom, began=began, ended=clock.now()))

    # the end

    def end(self) -> History:
        """Let all jobs end and all members go; what was seen of it."""
        self._feeder.join(PATIENCE)
        if self._frozen is not None:
            self._frozen.join()
        wait_until(self._drained, PATIENCE)
        for member in self.members:
            member.look()
            self.children |= member.children
            member.end()
        self._adopt_logs()
        spooled = [str(file) for file in (self.folder / "spool").glob("*/*")]
        left = [*still_registered(self.store), *(f"process {pid}" for pid in survivors(self.children)), *spooled]
        keep(self.store, log := Log(self.folder / "store.jsonl"))
        known = {"capacities": {"gpu": 1}, "every_tick": ("pulse",)}
        facts = Facts(lease=round(LEASE * SECOND), slots=SLOTS, left=tuple(left), **known)  # type: ignore[arg-type]
        log.write(facts)
        return read(self.folder)

    def _drained(self) -> bool:
        try:
            ticked = self.store.ticks().get("pulse", 0) >= self._last_tick
            return ticked and all(one.state in FINAL for one in self.store.count())
        except StoreError:
            return False

    def _adopt_logs(self) -> None:
        """A last executor uploads what the killed ones have left."""
        executor = TaskExecutor(self.url, log_store=f"{self.folder}/logs", spool=f"{self.folder}/spool")
        with executor, contextlib.suppress(AssertionError):  # the checker says which log it is
            wait_until(lambda: not self._logs_pending(), 5)
        executor.close()

    def _logs_pending(self) -> list[str]:
        files = [name for _, _, names in os.walk(self.folder / "spool") for name in names if name.endswith(".log")]
        jobs = [row.job.id for row in self.store.find(JobQuery(limit=10_000)).rows]
        return files or [one.job_id for one in self.store.attempts(jobs) if one.log is None]
