"""`TaskExecutor`: the door of the house. It opens the store, posts, and starts the engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

from ostinato import answers, cancels, config, living, loading, replaycheck
from ostinato.book import Book
from ostinato.capacities import Capacities
from ostinato.endings import Endings
from ostinato.engine import Engine
from ostinato.errors import ConfigError, JobNotFound, NotRunning
from ostinato.events import Events, L, Listener
from ostinato.handle import Access, JobHandle
from ostinato.ids import VALID
from ostinato.keys import Keys
from ostinato.limiting import Limiting
from ostinato.model import SECOND, CatchUp, ExecutorInfo, Job, Keep, Overlap, State
from ostinato.options import JobOptions, PostOptions
from ostinato.places import places
from ostinato.plugins import manager, masked, open_log_store, open_store
from ostinato.postbox import Postbox
from ostinato.replaycheck import Fit
from ostinato.schedule import define
from ostinato.search import query_of, rows
from ostinato.storage import Count, JobQuery
from ostinato.stranded import Stranded, stranded
from ostinato.timetable import ScheduleHandle
from ostinato.units import Duration, Size, micros

if TYPE_CHECKING:
    from typing_extensions import Unpack


class TaskExecutor(Limiting):
    """Posts jobs to a store and, once started, runs jobs from it.

    ``url`` names the store (``sqlite:///jobs.db``, ``memory://``); every argument that is left
    out comes from ``OSTINATO_*`` variables, then ``ostinato.toml`` or ``[tool.ostinato]``, then
    the default. ``slots`` is how much runs at a time, ``queues`` are names or globs to take jobs
    from, ``log_store`` a folder or ``s3://bucket/prefix``, ``lease`` how long (seconds) an
    executor may be silent before others take its jobs over, ``grace`` how long `stop` lets running
    jobs end, ``poll`` the slow safety poll, ``max_payload`` and ``max_log`` bounds in bytes,
    ``keep`` the retention of ended jobs per outcome. Above ``max_cpu`` and ``max_memory`` (shares of the
    machine, 0 to 1) and ``max_load`` (load average per core) no jobs are taken. Jobs become HIGH
    ``deadline_lead`` before their deadline, and after they have waited for ``ageing``.

    Raises ConfigError for anything wrong. The store is opened at the first use.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        slots: int | None = None,
        queues: Sequence[str] | None = None,
        log_store: str | None = None,
        spool: str | None = None,
        lease: Duration | None = None,
        grace: Duration | None = None,
        poll: Duration | None = None,
        max_payload: Size | None = None,
        max_log: Size | None = None,
        keep: dict[str, Keep] | None = None,
        start_method: str | None = None,
        name: str | None = None,
        max_cpu: float | None = None,
        max_memory: float | None = None,
        max_load: float | None = None,
        deadline_lead: Duration | None = None,
        ageing: Duration | None = None,
    ) -> None:
        given = {key: value for key, value in locals().items() if key != "self"}
        self._config = config.load(given)
        self._places = places(self._config)
        self._events = Events()
        hook = manager().hook.ostinato_event
        if hook.get_hookimpls():
            self._events.on("*", lambda event: hook(event=event))
        self._furnish()
        living.watch(self)

    def _furnish(self) -> None:
        """Everything that belongs to this process, and is made anew in one that is forked from it."""
        self._store = open_store(self._config.url)
        self._log_store = open_log_store(self._places.log_store)
        self._endings = Endings(self._store)
        self._keys = Keys(self._store)
        self._capacities = Capacities(self._store)
        self._postbox = Postbox(self._config, self._store, self._keys, self._capacities)
        self._engine: Engine | None = None
        self._stopping: Engine | None = None
        self._stopper = 0
        self._stopped = threading.Event()
        self._opened = False
        self._closed = False
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        state = "running" if self._engine is not None else "stopped"
        return f"<TaskExecutor {masked(self._config.url)} {state}>"

    # posting

    @overload
    def post(self, job: Job, *, session: object = None, **options: Unpack[PostOptions]) -> JobHandle: ...
    @overload
    def post(
        self, job: Sequence[Job], *, session: object = None, **options: Unpack[PostOptions]
    ) -> list[JobHandle]: ...
    def post(
        self, job: Job | Sequence[Job], *, session: object = None, **options: Unpack[PostOptions]
    ) -> JobHandle | list[JobHandle]:
        """Post a job, or all or none of a list, in one round trip.

        Works from any thread, before and after `start`. When it returns the job is as safe as the
        store can make it; with a ``session`` (a SQLAlchemy Session or Connection on the store's own
        database), when that is committed. Raises ConfigError for a wrong option or session,
        PayloadError for a payload over the limit, ResourceError for a resource that nobody declared
        or that has too few units, AlreadyPosted if a unique key says so, StoreUnavailable if the
        store does not answer; nothing is stored then.
        """
        handles = self._send(self._placed(job, options), session)
        return handles[0] if isinstance(job, Job) else handles

    def _placed(self, job: Job | Sequence[Job], options: PostOptions) -> list[Job]:
        self._open()
        return self._postbox.place(job, options)

    def _send(self, placed: Sequence[Job], session: object) -> list[JobHandle]:
        engine = self._engine
        if session is None and engine is not None:
            posted = engine.dispatcher.post(placed)
        else:
            posted = self._postbox.send(placed, session)
            if session is not None:
                self._changed()
        return [JobHandle(self._access, one.id) for one in posted]

    @overload
    async def apost(self, job: Job, *, session: Any = None, **options: Unpack[PostOptions]) -> JobHandle: ...
    @overload
    async def apost(
        self, job: Sequence[Job], *, session: Any = None, **options: Unpack[PostOptions]
    ) -> list[JobHandle]: ...
    async def apost(
        self, job: Job | Sequence[Job], *, session: Any = None, **options: Unpack[PostOptions]
    ) -> JobHandle | list[JobHandle]:
        """`post`, without blocking the event loop. The ``session`` is a SQLAlchemy AsyncSession or
        AsyncConnection on the store's own database."""
        import asyncio  # only who uses it pays for it

        if session is None:
            return await asyncio.to_thread(self.post, job, **options)  # type: ignore[arg-type]
        if not hasattr(session, "run_sync"):
            raise ConfigError(
                f"apost takes an AsyncSession or AsyncConnection. Give a {type(session).__name__} to post instead."
            )
        placed = await asyncio.to_thread(self._placed, job, options)
        handles: list[JobHandle] = await session.run_sync(lambda within: self._send(placed, within))
        return handles[0] if isinstance(job, Job) else handles

    def signal(self, name: str, key: object = "", payload: Any = None) -> bool:
        """Tell the flows that wait for this event (`ostinato.flow.event`), or will, that it has come.

        False, and nothing changes, if it was told before. Raises ConfigError, PayloadError, StoreError.
        """
        self._open()
        given = answers.signal(self._store, name, str(key), payload)
        self._changed()
        return given

    def replay_check(self, *job_ids: str) -> list[Fit]:
        """Whether the code in this process fits the records of these flows, or of all that wait: before it is
        released. Their code is run, but no step is posted, recorded or called. Raises JobNotFound."""
        self._open()
        return replaycheck.check(self._store, job_ids)

    # schedules

    def schedule(
        self,
        name: str,
        job: Job,
        *,
        cron: str | None = None,
        every: Duration | None = None,
        after: str | None = None,
        timezone: str | None = None,
        start_at: datetime | None = None,
        end_at: datetime | None = None,
        jitter: Duration | None = None,
        catch_up: CatchUp = "latest",
        max_backlog: int = 1000,
        overlap: Overlap = "skip",
        replace: bool = False,
        **options: Unpack[JobOptions],
    ) -> ScheduleHandle:
        """Post the job again and again: by a ``cron`` expression in a ``timezone``, at an interval, or
        ``after`` each success of another schedule. ``options`` are those of `post`.

        To say the same again changes nothing, so that every process may say it when it starts.
        Raises ConfigError if another schedule has this name (unless ``replace``), or for anything wrong,
        and ResourceError as `post` does.
        """
        self._open()
        now = self._store.now()
        made = define(
            name,
            self._postbox.template(job, options, now),
            cron=cron,
            every=every,
            after=after,
            timezone=timezone,
            start_at=start_at,
            end_at=end_at,
            jitter=jitter,
            catch_up=catch_up,
            max_backlog=max_backlog,
            overlap=overlap,
            anchor=now,
        )
        self._postbox.check(made.job)
        Book(self._store).add(made, replacing=replace)
        self._schedules_changed()
        return self._schedule(name)

    def schedules(self) -> list[ScheduleHandle]:
        """All schedules of the store, by name."""
        self._open()
        return [self._schedule(name) for name in sorted(Book(self._store).read())]

    def _schedule(self, name: str) -> ScheduleHandle:
        return ScheduleHandle(self._store, name, self.post, self._schedules_changed)

    def _schedules_changed(self) -> None:
        engine = self._engine
        if engine is not None:
            engine.ticker.hurry()

    # running

    def start(self) -> TaskExecutor:
        """Begin to run jobs; nothing if it has begun. Returns itself."""
        self._open()
        with self._lock:
            if self._engine is None:
                engine = Engine(
                    self._config,
                    self._store,
                    self._log_store,
                    self._places.spool,
                    self._events,
                    self._endings,
                    self._keys,
                )
                engine.start()
                self._engine = engine
        return self

    def stop(self, grace: Duration | None = None) -> None:
        """Claim nothing more, let running jobs end within ``grace`` (default: the setting), stop the
        others and hand them back at once, without cost to them. Nothing if it is not running.

        Safe from any thread and listener, and more than once: a call with less grace cuts short a
        stop that is under way, and returns when that has ended (at once if it comes from within,
        as a signal handler does). It may be started again.
        """
        patience = (self._config.grace if grace is None else micros(grace, "grace")) / SECOND
        with self._lock:
            engine, self._engine = self._engine, None
            if engine is not None:
                self._stopping, self._stopper, self._stopped = engine, threading.get_ident(), threading.Event()
            stopping, stopper, stopped = self._stopping, self._stopper, self._stopped
        if engine is None:
            if stopping is not None:
                stopping.dispatcher.hurry(patience)
                if stopper != threading.get_ident():
                    stopped.wait()
            return
        try:
            engine.stop(patience)
            self._events.close()
        finally:
            self._stopping = None
            stopped.set()

    def close(self) -> None:
        """Stop, and let go of the store. Handles of this executor are of no use any more."""
        self.stop()
        with self._lock:
            if self._opened and not self._closed:
                self._closed = True
                self._endings.close()
                self._events.close()
                self._store.close()
                self._log_store.close()

    def __enter__(self) -> TaskExecutor:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until this executor is idle: nothing runs here, and nothing is left that it could
        run now (jobs scheduled for later do not count). False after ``timeout`` seconds."""
        engine = self._engine
        if engine is None:
            raise NotRunning("wait() needs a started executor: call start() first, or use `with executor:`.")
        return engine.dispatcher.wait_idle(timeout)

    # listening

    def on(self, kind: str, listener: L | None = None) -> Any:
        """Call ``listener(event)`` at every event of this kind; as a decorator without listener.

        Kinds: ``idle start success fail retry cancel expire rescue progress log_uploaded deadline_missed due``,
        and ``*`` for all of them, which are then told in their order. Who listens for ``due`` takes the jobs of
        `Job.event`, each of which has succeeded when its listeners have returned. ``fail``
        comes once per job, at its end; ``retry`` after each failed attempt before that. Events tell of
        the attempts that this executor ran.
        """
        return self._events.subscribe(kind, listener, self._listening)

    def once(self, kind: str, listener: L | None = None) -> Any:
        """As `on`, for the next event only."""
        return self._events.subscribe(kind, listener, self._listening, once=True)

    def off(self, kind: str, listener: Listener) -> None:
        """Do not call this listener any more."""
        self._events.off(kind, listener)
        self._listening(kind)

    remove_listener = off

    def _listening(self, kind: str) -> None:
        engine = self._engine
        if kind == "due" and engine is not None:
            engine.listens()

    # looking

    @property
    def id(self) -> str | None:
        """The id of the running executor, new at every start; None while it is stopped."""
        return None if self._engine is None else self._engine.id

    def job(self, job_id: str) -> JobHandle:
        """The handle of a job. Raises JobNotFound."""
        self._open()
        if not VALID.fullmatch(str(job_id)) or not self._store.find(JobQuery(ids=(job_id,))).rows:
            raise JobNotFound(
                f"There is no job {job_id!r} in {masked(self._config.url)}. Ids have 26 characters; "
                "`ostinato jobs` lists those that are there."
            )
        return JobHandle(self._access, job_id)

    def jobs(
        self,
        *,
        state: State | Sequence[State] | None = None,
        task: str | Sequence[str] | None = None,
        queue: str | Sequence[str] | None = None,
        tag: str | None = None,
        limit: int | None = None,
    ) -> Iterator[JobHandle]:
        """The jobs that are all of this, newest first."""
        self._open()
        query = query_of(state=state, task=task, queue=queue, tag=tag)
        return (JobHandle(self._access, row.job.id) for row in rows(self._store, query, limit))

    def executors(self) -> list[ExecutorInfo]:
        """The executors that work on this store now, as they last told."""
        self._open()
        now = self._store.now()
        return [one for one in self._store.executors() if one.lease_until > now]

    def count(self) -> list[Count]:
        """How many jobs of which queue, task, version and cost are in which state."""
        self._open()
        return self._store.count()

    def stranded(self) -> list[Stranded]:
        """The waiting jobs that no living executor can run, and why: an unknown task or version, a
        queue that nobody serves, more slots than anyone has."""
        return stranded(self.count(), self.executors())

    # opening

    def _open(self) -> None:
        if self._opened and not self._closed:
            return
        with self._lock:
            loading.refuse_executor("A TaskExecutor was used")
            if self._closed:
                raise NotRunning("This executor is closed. Make another one.")
            if not self._opened:
                self._store.open()
                self._opened = True

    def _limiting(self) -> Capacities:
        self._open()
        return self._capacities

    @property
    def _access(self) -> Access:
        return Access(
            self._store,
            self._endings,
            self._log_store,
            self._config.max_log,
            self._cancel_here,
            self._cancelled,
            self._changed,
        )

    def _cancel_here(self, job_id: str) -> None:
        engine = self._engine
        if engine is not None:
            engine.cancel(job_id)

    def _cancelled(self, job_id: str) -> None:
        """A job was cancelled from here that did not run."""
        self._changed()
        self._endings.ended([job_id])
        cancels.tell(self._events, self._store, job_id, self.id or "")

    def _changed(self) -> None:
        """Something may be claimable that was not before."""
        engine = self._engine
        if engine is not None:
            engine.dispatcher.posted()
