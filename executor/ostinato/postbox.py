"""Posting: jobs are placed, checked, and sent to the store."""

from __future__ import annotations

from collections.abc import Sequence

from ostinato.capacities import Capacities
from ostinato.config import Config
from ostinato.current import as_jobs, check_runner, check_size
from ostinato.errors import ConfigError
from ostinato.ids import new_ids
from ostinato.keys import Keys
from ostinato.model import Job
from ostinato.options import JobOptions, Placement, PostOptions
from ostinato.plugins import masked
from ostinato.storage import Posted, PostsWithin, Store


class Postbox:
    """Where jobs are given up for one store, which is open."""

    def __init__(self, config: Config, store: Store, keys: Keys, capacities: Capacities) -> None:
        self._config = config
        self._store = store
        self._keys = keys
        self._capacities = capacities

    def place(self, job: Job | Sequence[Job], options: PostOptions) -> list[Job]:
        """The jobs as they will be stored, checked. Raises ConfigError, PayloadError, ResourceError."""
        placement = Placement(options, self._store.now(), self._config.rise)
        jobs = as_jobs(job)
        limit = self._config.max_payload
        for one in jobs:
            check_size(one, limit)
        placed = [placement.apply(one, job_id) for one, job_id in zip(jobs, new_ids(len(jobs)), strict=True)]
        for one in placed:
            if one.policy.runner != "subprocess" or one.kind == "event":
                check_runner(one)
        self._capacities.check(placed)
        return placed

    def template(self, job: Job, options: JobOptions, now: int) -> Job:
        """The job that a schedule posts at each tick. Raises ConfigError, PayloadError."""
        check_size(job, self._config.max_payload)
        return Placement(options, now).template(job)

    def check(self, template: Job) -> None:
        """Raises ConfigError or ResourceError for what could never be run."""
        check_runner(template)
        self._capacities.check([template])

    def send(self, placed: Sequence[Job], session: object = None) -> list[Posted]:
        """Store them all, or none: at once, or with the commit of a session. Raises ConfigError for a session
        that the store cannot use."""
        self._keys.declare(placed)
        if session is None:
            return self._store.post(placed)
        if not isinstance(self._store, PostsWithin):
            raise ConfigError(
                f"{masked(self._config.url)} cannot take jobs within a transaction of a session. Keep jobs in the "
                "database that the session is on (sqlite:, postgresql: or mysql:), or post without session=."
            )
        return self._store.post_within(session, placed)
