"""The subprocess and pool runners: each attempt in a process made by a fork server.

dispatcher thread ── run ──► a parked child's socket (or the queue of runs without a child)
reactor thread: ◄── notes and outcome from the children, spares and exits from the server;
                timeouts, graces and log bounds are its alarms
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from ostinato import clock, wire
from ostinato.errors import AlreadyPosted, RunnerError
from ostinato.model import SECOND, Outcome
from ostinato.process import ServerProcess
from ostinato.runners.alarm import Alarms
from ostinato.runners.death import lost, verdict
from ostinato.runners.protocol import Run, Why, stopped
from ostinato.task import registry
from ostinato.wire import Asking, Done, Frames, Order, PostAnswer, Posting, Recording, Said, Setup, StepAnswer

log = logging.getLogger("ostinato.runner")

LOG_CHECK = 0.25
"""Seconds between looks at the logs of running attempts."""
PARKED = 2
"""How many processes stand ready when there is nothing to do."""
SHRINK = 30.0
"""Seconds without an attempt after which the others are let go."""
RESTART_PAUSE = 0.5
"""Seconds before a fork server that died is started again."""


class Child:
    """A process that is parked or runs an attempt."""

    __slots__ = ("frames", "gone", "last", "outcome", "pid", "run", "sock", "unsent")

    def __init__(self, pid: int, sock: socket.socket) -> None:
        self.pid = pid
        self.sock = sock
        self.frames = Frames()
        self.run: Run | None = None
        self.outcome: Outcome | None = None
        self.unsent = b""
        self.gone = False
        self.last = False
        """It is not used again: a signal on its way would hit the next attempt, or its niceness stay."""


class SubprocessRunner:
    """One isolated process per attempt; with ``reuse`` the processes are used again and again."""

    def __init__(self, slots: int, *, reuse: bool, start_method: str, check_log: Callable[[str], object]) -> None:
        self._reuse = reuse
        self._most = slots if reuse else slots + 2 * PARKED
        self._size = min(PARKED, self._most)
        self._start_method = start_method
        self._check_log = check_log
        self._lock = threading.Lock()
        self._children: dict[int, Child] = {}
        self._parked: deque[Child] = deque()
        self._queue: deque[Run] = deque()
        self._unsent: deque[Child] = deque()
        self._alarms = Alarms()
        self._selector = selectors.DefaultSelector()
        self._poke_r, self._poke_w = os.pipe()
        self._closing = False
        self._watching = False
        self._lease_ends: int | None = None
        self._server: ServerProcess | None = None
        self._thread = threading.Thread(target=self._react, name="ostinato-reactor", daemon=True)

    # from other threads

    def open(self) -> None:
        os.set_blocking(self._poke_r, False)
        os.set_blocking(self._poke_w, False)
        self._selector.register(self._poke_r, selectors.EVENT_READ)
        self._start_server()
        self._thread.start()

    def run(self, run: Run) -> None:
        timeout = run.row.job.policy.timeout
        if timeout is not None:
            self._alarm(timeout / SECOND, lambda: self.stop(run, "timeout", _grace(run)), run)
        if not self._watching and run.log_path is not None:
            self._watching = True
            self._alarm(LOG_CHECK, self._watch_logs)
        with self._lock:
            if run.ended:  # told to stop before it came here
                return
            child = self._take()
            if child is None:
                self._queue.append(run)
                self._grow()
                return
            child.run = run
        self._send(child, run.order)

    def stop(self, run: Run, why: Why, grace: int) -> None:
        with self._lock:
            if run.ended or run.why is not None:
                return
            run.why = why
            if run in self._queue:
                self._queue.remove(run)
                child = None
            else:
                child = next((one for one in self._children.values() if one.run is run), None)
        if child is None:
            run.end(stopped(run, Outcome(kind="interrupted", logged=False, ended_at=clock.now())))
        elif grace == 0:
            self._kill(run, child, signal.SIGKILL, True)
        else:
            self._kill(run, child, signal.SIGTERM, run.order.kind != "function")
            self._alarm(grace / SECOND, lambda: self._kill(run, child, signal.SIGKILL, True), run)

    def beat(self, lease_ends: int) -> None:
        self._lease_ends = lease_ends
        if self._server is not None:
            self._server.tell("beat", lease_ends)

    def close(self) -> None:
        self._closing = True
        self._poke()
        if self._thread.is_alive():
            self._thread.join(10)
        if self._server is not None:
            self._server.close()

    def _alarm(self, seconds: float, call: Callable[[], None], run: Run | None = None) -> None:
        """From another thread: the reactor may have to wake earlier than it thought."""
        if self._alarms.at(seconds, call, run):
            self._poke()

    def _poke(self) -> None:
        with suppress(OSError):  # full: the reactor will wake anyway; closed: it need not
            os.write(self._poke_w, b".")

    def _grow(self) -> None:
        """All are busy: double their number, up to one a slot and those that stand ready."""
        if self._size < self._most and self._server is not None:
            self._size = min(self._most, 2 * self._size)
            self._server.tell("size", self._size)

    def _shrink(self) -> None:
        """Let those go that were not needed for a while: their socket ends, and so do they."""
        with self._lock:
            spare = len(self._parked) - PARKED
            if spare <= 0 or len(self._parked) < len(self._children) or self._server is None:
                return
            self._size = PARKED
            self._server.tell("size", self._size)
            gone = [self._parked.popleft() for _ in range(spare)]
        for child in gone:
            self._unregister(child)

    def _take(self) -> Child | None:
        while self._parked:
            child = self._parked.popleft()
            if not child.gone:
                return child
        return None

    def _send(self, child: Child, value: Order | PostAnswer | StepAnswer) -> None:
        data = wire.frame(value)
        try:
            sent = child.sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:  # it has just died: its exit will be reported
            return
        if sent < len(data):
            child.unsent = data[sent:]
            self._unsent.append(child)
            self._poke()

    def _kill(self, run: Run, child: Child, number: int, group: bool) -> None:
        if child.run is run and not run.ended and self._server is not None:
            child.last = True
            self._server.tell("kill", child.pid, number, group)

    # the reactor thread

    def _react(self) -> None:
        while not self._closing:
            try:
                self._turn()
            except Exception:
                log.exception("the reactor stumbled; it goes on")
        for child in self._children.values():
            child.sock.close()
        self._selector.close()

    def _turn(self) -> None:
        self._flush()
        for key, mask in self._selector.select(self._alarms.patience()):
            if key.fd == self._poke_r:
                os.read(self._poke_r, 4096)
            elif isinstance(key.data, Child):
                if mask & selectors.EVENT_WRITE:
                    self._write(key.data)
                if mask & selectors.EVENT_READ:
                    self._read(key.data)
            else:
                self._hear()
        self._alarms.ring()

    def _start_server(self) -> None:
        tasks = list(registry.values())
        self._server = ServerProcess(
            Setup(
                sys_path=[path or os.getcwd() for path in sys.path],
                argv=sys.argv,
                modules=sorted({task.ref.module for task in tasks if task.ref.path is None} - {"__main__"}),
                main=next((task.ref.path for task in tasks if task.ref.path is not None), None),
                size=self._size,
                reuse=self._reuse,
                start_method=self._start_method,
            )
        )
        if self._lease_ends is not None:
            self._server.tell("beat", self._lease_ends)
        self._selector.register(self._server.control, selectors.EVENT_READ)

    def _restart_server(self) -> None:
        try:
            self._start_server()
        except RunnerError:
            log.exception("no other fork server can be started now; it is tried again")
            self._alarms.at(RESTART_PAUSE, self._restart_server)

    def _hear(self) -> None:
        said = None if self._server is None else self._server.hear()
        if said is None:
            self._server_died()
            return
        for words, sock in said:
            if words[0] == "spare" and sock is not None:
                self._spare(words[1], sock)
            elif words[0] == "exit":
                self._exited(*words[1:])
            elif words[0] == "trouble":
                log.warning("%s", words[1])

    def _spare(self, pid: int, sock: socket.socket) -> None:
        sock.setblocking(False)
        child = self._children[pid] = Child(pid, sock)
        self._selector.register(sock, selectors.EVENT_READ, child)
        self._park(child)

    def _park(self, child: Child) -> None:
        with self._lock:
            if not self._queue:
                self._parked.append(child)
                return
            run = child.run = self._queue.popleft()
        self._send(child, run.order)

    def _read(self, child: Child) -> None:
        try:
            data = child.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._unregister(child)
            return
        for frame in child.frames.feed(data):
            report = wire.decode_report(frame)
            run = child.run
            if run is None:
                continue
            if isinstance(report, Done):
                child.outcome = report.outcome
                if self._reuse:
                    last = child.last or run.order.nice is not None
                    self._settle(child, report.outcome)
                    if last:
                        self._unregister(child)
                    else:
                        self._park(child)
            elif isinstance(report, (Posting, Recording, Asking)):
                threading.Thread(target=self._answer, args=(child, run, report), daemon=True).start()
            else:
                run.say(report.key, report.value)

    def _answer(self, child: Child, run: Run, asked: Posting | Recording | Asking) -> None:
        """In a thread of its own: the store may take its time, and the other children are not to wait."""
        try:
            answer = _answered(run, asked)
        except AlreadyPosted as error:
            answer = PostAnswer(taken=(error.key, error.job_id))
        except Exception as error:
            answer = StepAnswer(refused=str(error)) if isinstance(asked, Asking) else PostAnswer(refused=str(error))
        self._send(child, answer)

    def _write(self, child: Child) -> None:
        try:
            child.unsent = child.unsent[child.sock.send(child.unsent) :]
        except BlockingIOError:
            return
        except OSError:
            child.unsent = b""
        if not child.unsent and not child.gone:
            self._selector.modify(child.sock, selectors.EVENT_READ, child)

    def _flush(self) -> None:
        """Go on with orders too large for one send."""
        while self._unsent:
            child = self._unsent.pop()
            if not child.gone:
                self._selector.modify(child.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, child)

    def _unregister(self, child: Child) -> None:
        if not child.gone:
            child.gone = True
            self._selector.unregister(child.sock)
            child.sock.close()

    def _exited(self, pid: int, status: int, cpu: int, peak: int, cause: str) -> None:
        child = self._children.pop(pid, None)
        if child is None:
            return
        if not child.gone:
            self._drain(child)
            self._unregister(child)
        if child.run is None:
            return
        if cause == "lease" and child.outcome is None:
            self._settle(child, lost(child.run, "the lease ran out: the executor was stopped, starved or cut off"))
        else:
            self._settle(child, verdict(child.run, child.outcome, status, cpu, peak, cause == "oom"))

    def _drain(self, child: Child) -> None:
        """The exit may be heard of before the last words."""
        while not child.gone and child.outcome is None:
            before = child.frames
            try:
                data = child.sock.recv(65536)
            except OSError:
                return
            if not data:
                return
            for frame in before.feed(data):
                report = wire.decode_report(frame)
                if isinstance(report, Done):
                    child.outcome = report.outcome
                elif isinstance(report, Said) and child.run is not None:
                    child.run.say(report.key, report.value)

    def _settle(self, child: Child, outcome: Outcome) -> None:
        with self._lock:
            run, child.run, child.outcome = child.run, None, None
        if run is not None:
            run.end(stopped(run, outcome))

    def _server_died(self) -> None:
        server = self._server
        if server is None or self._closing:
            return
        log.error("the fork server (pid %d) died; its attempts are lost, another one is started", server.pid)
        self._selector.unregister(server.control)
        self._server = None
        server.close()
        with self._lock:
            self._parked.clear()
            children = list(self._children.values())
            self._children.clear()
        for child in children:
            _kill_left_over(child.pid)
            self._unregister(child)
        for child in children:  # only now: what is lost may be run again at once, and not by one of these
            if child.run is not None:
                self._settle(child, lost(child.run, "the fork server died"))
        self._alarms.at(RESTART_PAUSE, self._restart_server)

    def _watch_logs(self) -> None:
        running = [child.run for child in list(self._children.values()) if child.run is not None]
        for run in running:
            if run.log_path is not None:
                self._check_log(run.log_path)
        self._watching = bool(running) or bool(self._queue)
        if self._watching:
            self._alarms.at(LOG_CHECK, self._watch_logs)
        else:
            self._alarms.at(SHRINK, self._shrink)


def _grace(run: Run) -> int:
    return run.row.job.policy.grace


def _kill_left_over(pid: int) -> None:
    """End the process group of a child whose parent died: the child itself was killed by the
    kernel with it. Its id cannot be another's while members of its group are left; if none are
    left and the id is a living process, it is somebody else's and is left alone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    except PermissionError:
        pass


def _answered(run: Run, asked: Posting | Recording | Asking) -> PostAnswer | StepAnswer:
    if isinstance(asked, Posting):
        return PostAnswer(run.post(asked.jobs))
    if isinstance(asked, Recording):
        run.record(asked.name, asked.value)
        return PostAnswer()
    return StepAnswer(*run.ask(asked.ids, asked.cursor))
