"""The store: each verb opens its transaction, hands it to the room that does the work, and
tells the listeners after the commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy.exc import SQLAlchemyError

from ostinato.errors import StoreUnavailable
from ostinato.model import Attempt, Channel, End, ExecutorInfo, Fence, Job, Row
from ostinato.storage import (
    NO_RATES,
    Ask,
    Changed,
    Claimed,
    Count,
    Entry,
    JobQuery,
    Listener,
    Migration,
    Note,
    Page,
    Posted,
    Rate,
    Record,
    Renewal,
    Rescue,
    Want,
)
from ostinato_sql import capacity, change, claim, entry, find, finish, lease, migrations, post
from ostinato_sql.database import Database
from ostinato_sql.dialect import Dialect, Waker
from ostinato_sql.link import Link
from ostinato_sql.within import Within


class SqlStore:
    """`ostinato.storage.Store` on a SQL database. After a fork the child must not use it."""

    def __init__(self, dialect: Dialect) -> None:
        self.durable = dialect.durable
        self._clock = dialect.clock
        self._dialect = dialect
        self._database = Database(dialect)
        self._write = self._database.write
        self._within = Within(self._database)
        self._waker: Waker | None = None

    def open(self) -> None:
        self._database.open()
        self.durable = self._dialect.durable  # a server tells when it is asked
        if self._waker is None:
            self._waker = self._dialect.waker(self._database.engine, lambda: self._database.writes)

    def close(self) -> None:
        waker, self._waker = self._waker, None
        if waker is not None:
            waker.close()
        self._database.close()

    def migrate(self, *, run: bool = True) -> Migration:
        """See `ostinato.storage.Migrates`."""
        opened = self._waker is not None
        self._database.open(prepare=False)
        try:
            found = self._database.version()
            statements = migrations.statements(self._dialect, found)
            if statements:
                statements = [*self._dialect.before_tables(), *statements]
            if run and statements:
                self._database.migrate()
            return Migration(found, migrations.NEWEST, statements)
        finally:
            if not opened:
                self._database.close()

    def now(self) -> int:
        return self._clock()

    def _tell(self, channels: Iterable[Channel]) -> None:
        told = frozenset(channels)
        if told and self._waker is not None:
            self._waker.tell(told)

    # in

    def post(self, jobs: Sequence[Job]) -> list[Posted]:
        if not jobs:
            return []
        answers = self._write(lambda link: post.insert_jobs(link, self._database, jobs, self.now()))
        if any(posted.created for posted in answers):
            self._tell(_news(jobs))  # of scheduled ones too: they may come due before all others
        return answers

    def post_and_claim(self, jobs: Sequence[Job], executor_id: str, want: Want) -> tuple[list[Posted], Claimed]:
        def work(link: Link) -> tuple[list[Posted], Claimed]:
            answers = post.insert_jobs(link, self._database, jobs, self.now())
            return answers, claim.claim_within(link, self._database, executor_id, want)

        answers, claimed = self._write(work)
        taken = {row.job.id for row in claimed.rows}
        if any(posted.created and posted.id not in taken for posted in answers):
            self._tell(_news(jobs))
        return answers, claimed

    def post_within(self, session: object, jobs: Sequence[Job]) -> list[Posted]:
        """See `ostinato.storage.PostsWithin`."""
        if not jobs:
            return []
        try:
            return self._within.post(session, jobs, self.now(), lambda: self._tell(_news(jobs)))
        except SQLAlchemyError as error:
            raise self._dialect.translate(error) from error

    def load(self, records: Sequence[Record]) -> list[bool]:
        if not records:
            return []
        answers = self._write(lambda link: post.load(link, self._database, records, self.now()))
        self._tell(["ready", "ended"])
        return answers

    def tick(self, schedule: str, due: int, jobs: Sequence[Job]) -> bool:
        def work(link: Link) -> bool:
            new = entry.tick(link, schedule, due)
            if new and jobs:
                post.insert_jobs(link, self._database, jobs, self.now())
            return new

        new = self._write(work)
        if new and jobs:
            self._tell(_news(jobs))
        return new

    def ticks(self) -> dict[str, int]:
        with self._database.read() as link:
            return entry.newest_ticks(link)

    def limit(self, capacities: Mapping[str, int | None], rates: Mapping[str, Rate | None] = NO_RATES) -> None:
        def work(link: Link) -> None:
            self._dialect.lock_capacities(link, alone=True)
            capacity.change(link, capacities, rates)

        self._write(work)
        self._tell(["ready"])

    def limits(self) -> dict[str, int]:
        with self._database.read() as link:
            return capacity.read(link)[0]

    def rates(self) -> dict[str, Rate]:
        with self._database.read() as link:
            return capacity.read(link)[1]

    def paces(self) -> dict[str, int]:
        """See `ostinato.storage.TellsPaces`."""
        with self._database.read() as link:
            return capacity.paces(link, self.now())

    def keep(self, entries: Sequence[Entry]) -> list[bool]:
        if not entries:
            return []
        answers = self._write(lambda link: entry.keep(link, entries))
        if any(answers):
            self._tell(["orders"])
        return answers

    def entries(self, kind: str) -> list[Entry]:
        with self._database.read() as link:
            return entry.read(link, kind)

    # the loop

    def claim(self, executor_id: str, want: Want) -> Claimed:
        claimed, told = claim.claim(self._database, executor_id, want)
        self._tell(told)
        return claimed

    def renew(self, executor: ExecutorInfo, fences: Sequence[Fence], lease_for: int) -> Renewal:
        def work(link: Link) -> tuple[bool, Renewal]:
            joins = lease.joins(link, executor, lease_for)
            return joins, lease.renew(link, executor, fences, lease_for, self.now())

        joins, renewal = self._database.write(work, lasting=False)
        if joins:
            self._tell(["orders"])  # the others want to know whom to look after
        return renewal

    def note(self, notes: Sequence[Note]) -> list[bool]:
        if not notes:
            return []
        return self._write(lambda link: lease.note(link, notes))

    def finish(self, ends: Sequence[tuple[Fence, End]]) -> list[bool]:
        if not ends:
            return []
        answers, told = self._write(lambda link: finish.finish(link, self._database, ends, self.now()))
        self._tell(told)
        return answers

    def rescue(self, executor_id: str, want: Rescue) -> list[Row]:
        with self._database.read() as link:
            if not lease.orphans(link, want, self.now()):
                return []
        return self._database.write(
            lambda link: lease.rescue(link, self._database, executor_id, want, self.now()), lasting=False
        )

    # from outside

    def change(self, ids: Sequence[str], ask: Ask) -> list[Changed]:
        if not ids:
            return []
        answers, told = self._write(lambda link: change.change(link, ids, ask, self.now()))
        self._tell(told)
        return answers

    def find(self, query: JobQuery) -> Page:
        return find.find(self._database, query)

    def attempts(self, job_ids: Sequence[str]) -> list[Attempt]:
        with self._database.read(snapshot=True) as link:
            return find.find_attempts(link, job_ids)

    def executors(self) -> list[ExecutorInfo]:
        with self._database.read() as link:
            return lease.listed(link, self.now())

    def count(self) -> list[Count]:
        with self._database.read(snapshot=True) as link:
            return find.count(link, self._database)

    # waking

    def listen(self, channels: frozenset[Channel]) -> Listener:
        if self._waker is None:
            raise StoreUnavailable(f"The store at {self._dialect.place} is not open. Call open() before listen().")
        return self._waker.listen(channels)


def _news(posted: Sequence[Job]) -> list[Channel]:
    """One that comes after others may have ended at once, like them."""
    return ["ready", "ended"] if any(job.after is not None for job in posted) else ["ready"]
