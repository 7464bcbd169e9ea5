"""What ``ostinato doctor`` looks at, one function a subject."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from msgspec import Struct

from ostinato import clock, config, host
from ostinato.cli.opening import check_place
from ostinato.cli.terminal import counted, size
from ostinato.errors import StoreError
from ostinato.ids import new_id
from ostinato.logs import is_closed, log_key, parse
from ostinato.places import places
from ostinato.plugins import masked, open_log_store, open_store
from ostinato.storage import Store
from ostinato.stranded import stranded

LOW_DISK, NO_DISK = 1 << 30, 100 << 20
SKEW = 1_000_000


class Check(Struct, frozen=True):
    """One finding; ``fix`` says what to do about it."""

    name: str
    outcome: Literal["ok", "warning", "failed"]
    said: str
    fix: str = ""


class Patient:
    """What is examined: the settings, and the store once it could be opened."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.config = config.load(settings)
        self.places = places(self.config)
        self.store: Store | None = None

    def __enter__(self) -> Patient:
        return self

    def __exit__(self, *exit_: object) -> None:
        if self.store is not None:
            self.store.close()


def store(patient: Patient) -> Iterator[Check]:
    where = masked(patient.config.url)
    try:
        check_place(patient.config.url, create=False)
        opened = open_store(patient.config.url)
        opened.open()
        asked = time.perf_counter()
        opened.count()
    except StoreError as error:
        yield Check("store", "failed", str(error))
        return
    patient.store = opened
    answered = time.perf_counter()
    yield Check("store", "ok", f"{where} answers in {_ms(answered - asked)}")
    yield Check("schema", "ok", "this release can read it")
    yield Check("durability", "ok", f"a posted job survives {opened.durable}")
    before, there, after = clock.now(), opened.now(), clock.now()
    skew = there - (before + after) // 2
    late = abs(skew) > SKEW
    fix = (
        "Leases go by the store's clock; synchronise both (NTP) so that times in logs and lists agree." if late else ""
    )
    yield Check("clock", "warning" if late else "ok", f"the store's differs by {_ms(abs(skew) / 1e6)}", fix)


def executors(patient: Patient) -> Iterator[Check]:
    if patient.store is None:
        return
    now = patient.store.now()
    living = [one for one in patient.store.executors() if one.lease_until > now and not host.is_dead(one)]
    if not living:
        yield Check("executors", "warning", "none is running", "Start one: ostinato work APP")
        return
    yield Check("executors", "ok", f"{len(living)} running, {counted(sum(one.slots for one in living), 'slot')}")
    for left in stranded(patient.store.count(), living):
        yield Check("jobs", "warning", f"{counted(left.jobs, 'job')} in queue {left.queue} cannot be run", left.why)
    mine = open_log_store(patient.places.log_store).url
    for one in living:
        if one.log_store != mine:
            said = f"executor {one.name} keeps logs in {one.log_store}, but the settings here say {mine}"
            yield Check("log store", "warning", said, "Logs can only be read where they are: use one --log-store.")


def spool(patient: Patient) -> Iterator[Check]:
    here = patient.store.executors() if patient.store is not None else []
    living = {one.id for one in here if one.host == host.HOST and not host.is_dead(one)}
    roots = {patient.places.spool, *(one.spool for one in here if one.host == host.HOST and one.spool)}
    for root in sorted(roots):
        exists = os.path.isdir(root)
        folder = root if exists else _existing_parent(root)
        if not os.access(folder, os.W_OK):
            yield Check("spool", "failed", f"{folder} cannot be written", "Give another: --spool FOLDER")
            continue
        pending = _pending(root, living) if exists else 0
        said = f"{root}: {counted(pending, 'log')} to be uploaded" if pending else f"{root}: all logs are uploaded"
        fix = "They are uploaded by the next executor that runs on this host." if pending and not living else ""
        yield Check("spool", "warning" if fix else "ok", said, fix)
        yield _disk(folder)


def log_store(patient: Patient) -> Iterator[Check]:
    opened = open_log_store(patient.places.log_store)
    key, text = log_key(new_id(), 1), b'{"msg":"ostinato doctor"}\n'
    begun = time.perf_counter()
    try:
        with tempfile.NamedTemporaryFile() as file:
            file.write(text)
            file.flush()
            opened.put(key, file.name)
        back = opened.get(key)
        opened.delete(key)
    except Exception as error:
        yield Check(
            "log store", "failed", f"{opened.url}: {error}", "Check the address, the rights and the space there."
        )
        return
    finally:
        opened.close()
    if back != text:
        yield Check("log store", "failed", f"{opened.url} gave back something else than it was given")
    else:
        yield Check("log store", "ok", f"{opened.url}: put, get and delete in {_ms(time.perf_counter() - begun)}")


def processes(patient: Patient) -> Iterator[Check]:
    """Run two real attempts: the first waits for the fork server, the second shows the pace."""
    from ostinato.cli.probe import probe
    from ostinato.executor import TaskExecutor

    executor = TaskExecutor("memory://", slots=1, start_method=patient.config.start_method)
    try:
        begun = time.perf_counter()
        executor.start()
        number = executor.post(probe.job()).result(30)
        ready = time.perf_counter()
        executor.post(probe.job()).result(30)
        done = time.perf_counter()
    finally:
        executor.stop(0)
        executor.close()
    yield Check(
        "processes", "ok", f"fork server ready in {_ms(ready - begun)}, then {_ms(done - ready)} for a whole job"
    )
    if number == signal.SIGKILL:
        yield Check("PDEATHSIG", "ok", "attempts die with their executor")
    else:
        said = "this system has no parent-death signal; attempts end when their life-line closes"
        yield Check("PDEATHSIG", "warning" if sys.platform == "linux" else "ok", said)


def python(patient: Patient) -> Iterator[Check]:
    yield Check(
        "python", "ok", f"{platform.python_version()} ({platform.python_implementation()}, {platform.platform()})"
    )
    import zoneinfo

    try:
        zoneinfo.ZoneInfo("Europe/Paris")
    except zoneinfo.ZoneInfoNotFoundError:
        yield Check("time zones", "failed", "no time zone data", "Install it: pip install tzdata")
    else:
        yield Check("time zones", "ok", f"zoneinfo {_tzdata()}")


CHECKS: tuple[Callable[[Patient], Iterator[Check]], ...] = (store, executors, log_store, spool, processes, python)


def _ms(passed: float) -> str:
    return f"{passed * 1000:.1f} ms"


def _pending(root: str, living: set[str]) -> int:
    """Logs that are complete, and those of executors that are gone."""
    count = 0
    for folder, _, names in os.walk(root):
        gone = os.path.basename(folder) not in living
        count += sum(parse(name) is not None and (gone or is_closed(os.path.join(folder, name))) for name in names)
    return count


def _existing_parent(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _disk(folder: str) -> Check:
    free = shutil.disk_usage(folder).free
    outcome: Literal["ok", "warning", "failed"] = "failed" if free < NO_DISK else "warning" if free < LOW_DISK else "ok"
    fix = "Free some: logs and jobs need it." if outcome != "ok" else ""
    return Check("disk", outcome, f"{size(free)} free at {folder}", fix)


def _tzdata() -> str:
    """The release of the time zone data, from the system or the package tzdata."""
    from importlib.metadata import PackageNotFoundError, version
    from zoneinfo import TZPATH

    for folder in TZPATH:
        try:
            with open(os.path.join(folder, "tzdata.zi"), encoding="ascii", errors="replace") as file:
                return file.readline().removeprefix("# version").strip()
        except OSError:
            continue
    try:
        return f"{version('tzdata')} (package tzdata)"
    except PackageNotFoundError:
        return "of the system"
