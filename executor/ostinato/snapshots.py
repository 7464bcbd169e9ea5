"""Snapshots: the logs of attempts that run for long, uploaded as they are now and then, so
that they can be followed from other machines."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterable

from ostinato.logs import SNAPSHOT, log_key
from ostinato.storage import LogStore

Running = tuple[str, int, str]

logger = logging.getLogger("ostinato.uploader")


class Snapshots:
    """Used by the uploader's thread only: a snapshot must never replace a final log."""

    def __init__(self, log_store: LogStore, folder: str, running: Callable[[], Iterable[Running]]) -> None:
        self._log_store = log_store
        self._copy = f"{folder}/{SNAPSHOT}"
        self._running = running
        self._seen: dict[tuple[str, int], tuple[int, int]] = {}
        self._ended: set[tuple[str, int]] = set()

    def ended(self, job_id: str, attempt: int) -> None:
        """The final log comes: no more snapshots, also if it still is among the running."""
        self._ended.add((job_id, attempt))

    def take(self) -> None:
        """Upload what has grown. Who is seen for the first time has not run for long."""
        running = {(job_id, attempt): path for job_id, attempt, path in self._running()}
        self._ended &= running.keys()
        before, self._seen = self._seen, {}
        for attempt, path in running.items():
            self._seen[attempt] = before.get(attempt, (-1, -1))
            if attempt in before and attempt not in self._ended:
                self._one(attempt, path)

    def _one(self, attempt: tuple[str, int], path: str) -> None:
        try:
            found = os.stat(path)
            size = (found.st_size, found.st_mtime_ns)
            if found.st_size == 0 or size == self._seen[attempt]:
                return
            # A copy: of the file itself a store might read on while it is cut short.
            shutil.copyfile(path, self._copy)
            try:
                self._log_store.put(log_key(*attempt), self._copy)
            finally:
                os.unlink(self._copy)
            self._seen[attempt] = size
        except Exception as error:  # the final log will come; and its failures are told
            logger.debug("No snapshot of the log of job %s: %s", attempt[0], error)
