"""What ``ostinato demo`` does: one job a file, two executors, one of them killed, nothing lost.

    post ─► executor-1, executor-2 ─► half-way: SIGKILL executor-1 ─► executor-3 ─► check

Each executor is a process of its own (``ostinato work``); this one only posts and looks.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from msgspec import Struct

from ostinato import search
from ostinato.cli.demo_tasks import Digest, digest
from ostinato.cli.opening import opened
from ostinato.cli.overview import Overview, look
from ostinato.cli.terminal import counted
from ostinato.codec import decode
from ostinato.errors import OstinatoError
from ostinato.model import FINAL, Row
from ostinato.storage import JobQuery, Store

LOOK = 0.2
PAGE = 500


class Moment(Struct, frozen=True, kw_only=True):
    """How the demo stands: for the view. ``news`` is what has just happened, if anything."""

    files: int
    ended: int
    overview: Overview
    killed: str | None
    orphans: int
    rescued: int
    seconds: float
    news: str = ""


class Summary(Struct, frozen=True, kw_only=True):
    """The final numbers. ``lost`` are files without a result, ``twice`` those with several,
    ``wrong`` those whose result is not that of the file here."""

    files: int
    jobs: int
    succeeded: int
    attempts: int
    rescued: int
    rescued_after: float | None
    killed: list[str]
    lost: int
    twice: int
    wrong: int
    definitions: int
    size: int
    compressed: int
    seconds: float
    jobs_per_second: float
    url: str
    logs: str
    example: str

    @property
    def ok(self) -> bool:
        return not (self.lost or self.twice or self.wrong)


class Failover:
    """The run. `play` yields moments until all jobs have ended; `check` counts them."""

    def __init__(self, store: Store, url: str, folder: str, files: Sequence[str], slots: int) -> None:
        self._store, self._url, self._folder = store, url, folder
        self._files, self._slots = files, slots
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._killed: list[str] = []
        self._orphans: dict[str, int] = {}
        self._rescued: set[str] = set()
        self._killed_at = self._rescued_after = 0.0
        self._begun = self._took = 0.0

    def play(self) -> Iterator[Moment]:
        with opened(self._url, create=True) as executor:
            executor.post([digest.job(path) for path in self._files])
        self._begun = time.monotonic()
        for name in ("executor-1", "executor-2"):
            self._start(name)
        yield self._moment(f"posted {len(self._files)} jobs; two executors, each a process of its own, begin")
        while (now := self._moment()).ended < len(self._files):
            yield now
            if not self._killed and now.ended >= len(self._files) // 2 and (news := self._kill(now.overview)):
                yield self._moment(news)
                self._start("executor-3")
                yield self._moment("executor-3 is started in its place")
            if self._orphans and not self._rescued_after and self._all_rescued():
                saved = counted(len(self._orphans), "job")
                yield self._moment(f"{saved} of executor-1 rescued {self._rescued_after:.1f} s after its death")
            self._check_alive()
            time.sleep(LOOK)
        self._took = time.monotonic() - self._begun
        self._all_rescued()
        yield self._moment("all jobs have ended")

    def close(self) -> None:
        """Let the executors end: they hand over the last logs."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # the executors

    def _start(self, name: str) -> None:
        command = [sys.executable, "-m", "ostinato", "work", "ostinato.cli.demo_tasks"]
        command += ["--url", self._url, "--slots", str(self._slots), "--name", name]
        with open(os.path.join(self._folder, f"{name}.out"), "wb") as out:
            self._processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )

    def _kill(self, overview: Overview) -> str:
        """Kill executor-1 without warning; not yet ("") if it runs nothing at the moment."""
        victim = next((one for one in overview.executors if one.name == "executor-1" and one.busy), None)
        if victim is None:
            return ""
        process = self._processes.pop("executor-1")
        process.send_signal(signal.SIGKILL)
        process.wait()
        self._killed_at = time.monotonic()
        self._killed.append("executor-1")
        left = self._store.find(JobQuery(states=("running",), executor_id=victim.id, limit=PAGE)).rows
        self._orphans = {row.job.id: row.token for row in left}
        return f"executor-1 killed with SIGKILL: {counted(len(left), 'job')} left half done"

    def _all_rescued(self) -> bool:
        """Whether nobody waits for the dead one any more: each take-over raises the job's token."""
        rows = self._store.find(JobQuery(ids=tuple(self._orphans), limit=PAGE)).rows if self._orphans else []
        self._rescued = {row.job.id for row in rows if row.token > self._orphans[row.job.id]}
        done = len(self._rescued) == len(self._orphans)
        if done and self._orphans and not self._rescued_after:
            self._rescued_after = time.monotonic() - self._killed_at
        return done

    def _check_alive(self) -> None:
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise OstinatoError(
                    f"{name} ended by itself with exit code {process.returncode}; "
                    f"{os.path.join(self._folder, name)}.out tells why."
                )

    def _moment(self, news: str = "") -> Moment:
        overview = look(self._store)
        return Moment(
            files=len(self._files),
            ended=sum(overview.count(state) for state in FINAL),
            overview=overview,
            killed=self._killed[-1] if self._killed else None,
            orphans=len(self._orphans),
            rescued=len(self._rescued),
            seconds=time.monotonic() - self._begun,
            news=news,
        )

    # the proof

    def check(self, logs: str) -> Summary:
        """Count results per file, and hash the files here to compare."""
        rows = list(search.rows(self._store, JobQuery(limit=PAGE)))
        attempts = [one for part in _parts(rows) for one in self._store.attempts([row.job.id for row in part])]
        rescued = [one.job_id for one in attempts if one.outcome == "lost"]
        results = [decode(row.result, Digest) for row in rows if row.state == "succeeded" and row.result]
        per_file = Counter(result.path for result in results)
        return Summary(
            files=len(self._files),
            jobs=len(rows),
            succeeded=len(results),
            attempts=len(attempts),
            rescued=len(rescued),
            rescued_after=round(self._rescued_after, 2) if rescued else None,
            killed=self._killed,
            lost=sum(not per_file[path] for path in self._files),
            twice=sum(per_file[path] > 1 for path in self._files),
            wrong=sum(result.sha256 != _sha256(result.path) for result in results),
            definitions=sum(result.definitions for result in results),
            size=sum(result.size for result in results),
            compressed=sum(result.compressed for result in results),
            seconds=round(self._took, 2),
            jobs_per_second=round(len(results) / max(self._took, 0.001), 1),
            url=self._url,
            logs=logs,
            example=rescued[0] if rescued else rows[0].job.id,
        )


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    return (rows[at : at + PAGE] for at in range(0, len(rows), PAGE))


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()
