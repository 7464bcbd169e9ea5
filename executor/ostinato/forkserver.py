"""The fork server: a clean, single-threaded interpreter that makes and ends attempts' processes.

    executor ── size, kill, beat ──►  fork server  ── fork ──►  children, each parked on a socket
             ◄── spare + socket, exit ──┘  ▲                      of its own until an order comes
                                           └── SIGCHLD: wait4, kill of what is left of the tree

The host application is never forked: this runs as ``python -m ostinato.forkserver FD``, imports
the tasks' modules, freezes the heap and forks one child per attempt ahead of need. It kills all
children when the executor's end of the socket closes, or when no beat told it that the lease
was renewed (the executor is stopped, starved or cut off: others may take its jobs over).

Only this process, the children's parent, ever signals them, and only before it has reaped them:
a process id cannot have been given to somebody else meanwhile.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

from ostinato import capture, child, clock, loading, wire
from ostinato.fork import Fork
from ostinato.task import registry
from ostinato.wire import Setup

BATCH = 4
"""So many missing children are made at once;"""
GATHER = 1
"""fewer after so many milliseconds without news."""
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LINUX = sys.platform == "linux"
_prctl: Any = ctypes.CDLL(None, use_errno=True).prctl if LINUX else None


def settle_in(parent: int) -> None:
    """Make this process one that ends with its parent, and adopts what its own children leave."""
    if LINUX:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != parent:
        os._exit(0)


def prepare(setup: Setup) -> tuple[Fork, list[str]]:
    """Become like the application: its path, its tasks' modules. How to fork, and what went wrong."""
    loading.inside = True
    capture.prepare()
    fork = Fork()
    sys.path[:] = setup.sys_path
    sys.argv[:] = setup.argv
    troubles = []
    loads: list[tuple[Callable[[str], object], str | None]] = [(loading.load_main, setup.main)]
    loads += [(importlib.import_module, module) for module in setup.modules]
    for load, name in loads:
        if name is None:
            continue
        try:
            load(name)
        except BaseException as error:
            line = "".join(traceback.format_exception_only(error)).strip()
            troubles.append(f"could not load {name} ahead of its jobs: {line}")
    for task in list(registry.values()):
        task.prepare()
    return fork, troubles


class ForkServer:
    """The state of this process: its children and what it was told."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.lines = b""
        self.children: set[int] = set()
        self.killed: dict[int, str] = {}
        """Why children were killed by us: "" as the executor said, "lease" since it said nothing."""
        self.size = 0
        self.lease_ends: int | None = None
        self.wakeup = _on_child()
        self.oom_kills = _oom_kills()
        self.family = _family()

    def serve(self) -> None:
        """Until the executor is gone."""
        setup = wire.decode_setup(self.next_line())
        self.bare_fork, troubles = prepare(setup)
        self.setup = setup
        if LINUX:  # who outlives a child that adopted him comes to us, and is killed
            _prctl(PR_SET_CHILD_SUBREAPER, 1)
        self.spawning = self.must_spawn(troubles)
        for trouble in troubles:
            self.say("trouble", trouble)
        gc.collect()
        gc.freeze()
        self.size = setup.size
        poller = select.poll()
        poller.register(self.control, select.POLLIN)
        poller.register(self.wakeup[0], select.POLLIN)
        self.obey()  # what came along with the setup: the first beat
        while True:
            heard = poller.poll(self.patience())
            if not heard or self.size - len(self.children) >= BATCH:
                self.refill()
            for ready, _ in heard:
                if ready == self.wakeup[0]:
                    os.read(self.wakeup[0], 4096)
                    self.reap()
                elif not self.listen():
                    self.end()
            self.watch_lease()

    def must_spawn(self, troubles: list[str]) -> bool:
        threads = len(os.listdir("/proc/self/task")) if LINUX else 1
        if self.setup.start_method != "auto":
            return self.setup.start_method == "spawn"
        if threads > 1:
            troubles.append(
                f"importing the tasks' modules started {threads - 1} threads, and a process with threads cannot be "
                "forked safely: attempts are spawned instead, which is slower. Start threads inside the tasks."
            )
        return threads > 1 or not LINUX

    # the executor's side

    def say(self, *words: Any, fd: int | None = None) -> None:
        line = wire.encode(words) + b"\n"
        try:
            if fd is None:
                self.control.sendall(line)
            else:
                socket.send_fds(self.control, [line], [fd])
        except OSError:
            self.end()

    def next_line(self) -> bytes:
        while b"\n" not in self.lines:
            data = self.control.recv(65536)
            if not data:
                os._exit(0)
            self.lines += data
        line, _, self.lines = self.lines.partition(b"\n")
        return line

    def listen(self) -> bool:
        """Do what the executor says; False when it is gone."""
        data = self.control.recv(65536)
        self.lines += data
        self.obey()
        return bool(data)

    def obey(self) -> None:
        while b"\n" in self.lines:
            word, *rest = wire.decode_line(self.next_line())
            if word == "size":
                self.size = rest[0]
            elif word == "beat":
                self.lease_ends = rest[0]
            elif word == "kill":
                self.kill(*rest)

    # the lease

    def patience(self) -> float | None:
        """How long to wait (milliseconds): not long while children are missing."""
        if len(self.children) < self.size:
            return GATHER
        if self.lease_ends is None:
            return None
        return max(0.0, (self.lease_ends - clock.steady()) / 1000) + 1

    def watch_lease(self) -> None:
        if self.lease_ends is not None and clock.steady() >= self.lease_ends:
            self.lease_ends = None
            for pid in list(self.children):
                self.kill(pid, signal.SIGKILL, True, "lease")

    # the children

    def refill(self) -> None:
        """Make the children that are missing. All at a time: after each fork, whatever this process
        writes to must be copied by the kernel, so that little is to happen between two of them."""
        pairs = [socket.socketpair() for _ in range(self.size - len(self.children))]
        made = [self.spawn(theirs, ours) if self.spawning else self.fork(theirs, ours) for ours, theirs in pairs]
        self.children.update(made)
        for pid, (ours, theirs) in zip(made, pairs, strict=True):
            theirs.close()
            self.say("spare", pid, fd=ours.fileno())
            ours.close()

    def fork(self, theirs: socket.socket, ours: socket.socket) -> int:
        parent = os.getpid()
        pid = self.bare_fork()
        if pid:
            return pid
        try:
            signal.set_wakeup_fd(-1)
            os.setsid()
            settle_in(parent)
            ours.close()
            self.control.close()
            for fd in self.wakeup:
                os.close(fd)
            gc.enable()
            child.serve(theirs, self.setup.reuse)
        finally:
            os._exit(70)

    def spawn(self, theirs: socket.socket, ours: socket.socket) -> int:
        import subprocess  # only here: what a fork server imports makes each fork dearer

        argv = [sys.executable, "-m", "ostinato.spawned", str(theirs.fileno()), str(os.getpid())]
        process = subprocess.Popen(argv, pass_fds=[theirs.fileno()], start_new_session=True)
        process.returncode = 0  # reaped by us, not by the subprocess module
        ours.sendall(wire.frame(self.setup))
        return process.pid

    def kill(self, pid: int, number: int, group: bool, why: str = "") -> None:
        if pid not in self.children:
            return
        if number == signal.SIGKILL:
            self.killed.setdefault(pid, why)
        try:
            if group:
                os.killpg(pid, number)
            else:
                os.kill(pid, number)
        except ProcessLookupError:
            if group:  # so young that it has no group yet
                os.kill(pid, number)

    def reap(self) -> None:
        """Say how each ended child ended, once the rest of its tree is killed."""
        while True:
            pid = _ended_child()
            if pid is None:
                break
            if pid in self.children:
                _kill_group(pid)
            try:
                _, status, usage = os.wait4(pid, 0)
            except ChildProcessError:
                continue
            if pid in self.children:
                self.children.discard(pid)
                cause = "oom" if self.was_oom(pid, status) else self.killed.pop(pid, "")
                cpu = round((usage.ru_utime + usage.ru_stime) * 1e6)
                self.say("exit", pid, status, cpu, usage.ru_maxrss * (1024 if LINUX else 1), cause)
        self.kill_orphans()

    def was_oom(self, pid: int, status: int) -> bool:
        """Killed by the kernel for want of memory: SIGKILL, not from us, and its counter rose."""
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL or pid in self.killed:
            return False
        before, self.oom_kills = self.oom_kills, _oom_kills()
        return self.oom_kills > before

    def kill_orphans(self) -> None:
        """Kill what ended children left behind outside of their process groups. Each child adopts
        its own descendants, so whatever comes to us as parent belongs to one that has ended."""
        if self.family < 0:
            return
        for pid in {int(pid) for pid in os.pread(self.family, 1 << 20, 0).split()} - self.children:
            os.kill(pid, signal.SIGKILL)

    def end(self) -> NoReturn:
        """The executor is gone: take everything down."""
        signal.set_wakeup_fd(-1)
        for pid in self.children:
            _kill_group(pid)
            os.kill(pid, signal.SIGKILL)  # it may be so young that it has no group yet
        while self.children:
            try:
                pid, _ = os.wait()
            except ChildProcessError:
                break
            self.children.discard(pid)
            self.kill_orphans()
        os._exit(0)


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # nobody but the ended leader; macOS says the latter
        os.killpg(pid, signal.SIGKILL)


def _ended_child() -> int | None:
    """An ended child that is not reaped yet, so that its process group cannot be anyone else's."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


def _on_child() -> tuple[int, int]:
    """A pipe whose first end becomes readable when a child ends."""
    readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    # The children keep the handler, since to reset it in each costs more than all the rest of their
    # beginning; it does nothing, and with this their system calls go on as if it were not there.
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.siginterrupt(signal.SIGCHLD, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    return readable, writable


def _family() -> int:
    """The kernel's list of our children, kept open; -1 where there is none."""
    try:
        return os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _oom_kills() -> int:
    try:
        with open("/proc/vmstat", "rb") as file:
            for line in file:
                if line.startswith(b"oom_kill "):
                    return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0


def _for_children(number: int, frame: FrameType | None) -> None:
    """Signals are for the children, which inherit this: setting it in each would cost more."""
    if os.getpid() == _SERVER:
        return
    if number == signal.SIGTERM:
        child.on_term(number, frame)
    else:
        signal.default_int_handler(number, frame)


_SERVER = os.getpid()


def main() -> None:
    signal.signal(signal.SIGINT, _for_children)
    signal.signal(signal.SIGTERM, _for_children)
    gc.disable()
    ForkServer(socket.socket(fileno=int(sys.argv[1]))).serve()


if __name__ == "__main__":
    main()
