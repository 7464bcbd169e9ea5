"""What logs cost: python bench/logs.py

Prints the cost of attaching an attempt to its log (forked child, reused worker, host process),
of a line, and of uploading small logs to a folder.
"""

from __future__ import annotations

import gc
import os
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable

from ostinato import capture, router
from ostinato.logs import Spool
from ostinato.sink import Sink
from ostinato.uploader import Uploader
from ostinato_folder.store import FolderLogStore

BINDINGS = {"job": "01ABCDEFGH", "attempt": 1, "task": "shop:thumbnail"}


def forked(folder: str, count: int = 300) -> tuple[float, float, float]:
    """Medians in µs in a fresh child: bare open and two dup2, attach, release."""
    took = []
    for number in range(count):
        ours, theirs = os.pipe()
        if os.fork() == 0:
            first = time.perf_counter()
            if number % 2:
                capture.attach(f"{folder}/f{number}.log", BINDINGS)
            else:
                fd = os.open(f"{folder}/f{number}.log", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
                os.dup2(fd, 1)
                os.dup2(fd, 2)
            second = time.perf_counter()
            if number % 2:
                capture.release()
            os.write(theirs, struct.pack("dd", second - first, time.perf_counter() - second))
            os._exit(0)
        took.append(struct.unpack("dd", os.read(ours, 16)))
        os.wait()
        os.close(ours)
        os.close(theirs)
    bare, attach = statistics.median(one for one, _ in took[::2]), statistics.median(one for one, _ in took[1::2])
    return bare * 1e6, attach * 1e6, statistics.median(two for _, two in took[1::2]) * 1e6


def each(act: Callable[[int], object], count: int) -> float:
    start = time.perf_counter()
    for number in range(count):
        act(number)
    return (time.perf_counter() - start) / count * 1e6


def upload(folder: str, count: int = 5000) -> float:
    """Small logs a second, from put() to recorded and removed."""
    spool = Spool(f"{folder}/spool", "bench")
    uploader = Uploader(FolderLogStore(f"{folder}/logs"), lambda notes: [True] * len(notes), spool)
    jobs = [f"01ABC{number:05d}" for number in range(count)]
    for job in jobs:
        with open(spool.path(job, 1), "w") as log:
            log.write("said\n" * 20)
    uploader.start()
    start = time.perf_counter()
    for job in jobs:
        uploader.put(job, 1, 1, spool.path(job, 1))
    uploader.flush(120)
    rate = count / (time.perf_counter() - start)
    uploader.stop()
    spool.close()
    assert len(os.listdir(f"{folder}/logs/01ABC")) == count
    return rate


def main() -> None:
    console = os.dup(1)
    with tempfile.TemporaryDirectory() as folder:
        lines = [f"upload to a folder     {upload(folder):8.0f} logs/s"]
        route = each(lambda _: router.leave(router.enter(Sink("/nowhere", BINDINGS))), 100_000)
        lines.append(f"host process, silent   {route:8.2f} µs/job")
        capture.prepare()
        gc.collect()
        gc.freeze()
        bare, attach, release = forked(folder)
        lines.append(
            f"forked child           {attach:8.1f} µs attach ({bare:.1f} is open and dup2), {release:.1f} release"
        )
        worker = each(lambda number: (capture.attach(f"{folder}/w{number}.log", BINDINGS), capture.release()), 1000)
        lines.append(f"reused worker          {worker:8.1f} µs attach and release")
        capture.attach(f"{folder}/lines.log", BINDINGS)
        lines.append(f"a printed line         {each(lambda number: print('hello', number), 20_000):8.2f} µs")
        capture.release()
        os.write(console, "\n".join([*lines, ""]).encode())


if __name__ == "__main__":
    sys.exit(main())
