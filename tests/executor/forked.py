"""Tasks that tell how they were forked; a module with hooks of its own."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import threading

from ostinato import task

calls: list[str] = []
os.register_at_fork(before=lambda: calls.append("first before"), after_in_child=lambda: calls.append("first child"))
os.register_at_fork(before=lambda: calls.append("second before"), after_in_parent=lambda: calls.append("parent"))
os.register_at_fork(after_in_child=lambda: 1 / 0)
os.register_at_fork(after_in_child=lambda: calls.append("last child"))


@task
def hooks() -> list[str]:
    return calls[-4:]


@task
def draw() -> float:
    return random.random()


@task
def forks_itself() -> tuple[int, list[str]]:
    """With a second thread, of which the child must forget."""
    let_go = threading.Event()
    threading.Thread(target=let_go.wait, daemon=True).start()
    del calls[:]
    readable, writable = os.pipe()
    pid = os.fork()
    if not pid:
        logging.getLogger("new").warning("from the child of the job")
        os.write(writable, f"{threading.active_count()} {','.join(calls)}".encode())
        os._exit(7)
    let_go.set()
    said = os.read(readable, 1000).decode().partition(" ")
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), [said[0], *said[2].split(",")]


@task
def child_of_its_own() -> tuple[int, bool]:
    """A child's end must not disturb a job: nobody wakes its fork server by it, or its system calls."""
    done = subprocess.run(["sh", "-c", "exit 3"], check=False).returncode
    return done, signal.set_wakeup_fd(-1) == -1
