"""The bounds of concurrency keys: ``per_key`` of a job becomes the limit of its key."""

from __future__ import annotations

from collections.abc import Iterable

from ostinato.model import Job
from ostinato.storage import Store

KIND = "key"
"""Entries of this kind name the keys whose limit somebody set by hand: that one stays."""
MOST = 100_000
"""So many keys are remembered; then it begins anew."""


class Keys:
    """Sets the limit of a key when the first job with it comes by, before it is posted."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: set[tuple[str, int]] = set()

    def declare(self, jobs: Iterable[Job]) -> None:
        """One extra call for keys that are new here, none for others. Raises StoreUnavailable."""
        bounds = {
            (name, job.policy.per_key)
            for job in jobs
            if job.policy.per_key is not None
            for name, _ in job.holds
            if name.startswith("key:")
        }
        new = bounds - self._known
        if not new:
            return
        by_hand = {f"key:{entry.name}" for entry in self._store.entries(KIND)}
        limits = {name: bound for name, bound in sorted(new) if name not in by_hand}
        if limits:
            self._store.limit(limits)
        if len(self._known) > MOST:
            self._known.clear()
        self._known |= new
