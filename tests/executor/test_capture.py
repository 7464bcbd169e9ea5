"""All that an attempt says goes to its own log: in real child processes, and in the host."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ostinato import router
from ostinato.sink import Sink
from ostinato.structured import bound_logger

BINDINGS = {"job": "01ABCDEFGH", "attempt": 1, "task": "shop:thumbnail"}
ORDER = ["level", "time", "pid", "hostname", "name", "job", "attempt", "task"]


class Child:
    """A process that captured its output, as ended: its log, exit status, and what leaked."""

    def __init__(self, folder: Path, code: str, before: str = "", bare: bool = False) -> None:
        self.path = folder / "a.log"
        text = f"from ostinato import capture\n{textwrap.dedent(before)}\n"
        if not bare:
            text += f"capture.capture_process({str(self.path)!r}, {BINDINGS!r})\n"
        text += textwrap.dedent(code)
        plain = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        self.process = subprocess.run(
            [sys.executable, "-c", text], capture_output=True, timeout=60, cwd=folder, env=plain
        )
        self.text = self.path.read_bytes() if self.path.exists() else b""

    @property
    def records(self) -> list[dict[str, object]]:
        found = [json.loads(line) for line in self.text.splitlines() if line.startswith(b"{")]
        for record in found:
            assert list(record)[:8] == ORDER
            assert list(record)[-1] == "msg"
        return found

    def said(self, *keys: str) -> list[tuple[object, ...]]:
        return [tuple(record.get(key) for key in keys) for record in self.records]

    def check_clean(self, code: int = 0) -> None:
        assert self.process.returncode == code
        assert self.process.stdout == b""
        assert self.process.stderr == b""


def test_print_becomes_records_and_raw_bytes_stay_raw(tmp_path: Path) -> None:
    child = Child(
        tmp_path,
        """
        import os, sys, subprocess
        print("one\\ntwo", end="")
        print(" and a half")
        print("careful", file=sys.stderr)
        print()
        sys.stdout.write("no end"); sys.stdout.flush()
        os.write(1, b"\\nby descriptor\\n")
        os.write(2, b"by the other\\n")
        sys.stdout.buffer.write(b"\\xffraw\\n")
        subprocess.run(["echo", "from a program"])
        assert sys.stdout.fileno() == 1 and sys.stderr.fileno() == 2 and not sys.stdout.isatty()
        sys.stdout.close()
        print("still here \\ud800", end="")
        capture.flush()
        os._exit(0)
        """,
    )
    child.check_clean()
    assert child.said("stream", "level", "msg") == [
        ("stdout", 30, "one"),
        ("stdout", 30, "two and a half"),
        ("stderr", 40, "careful"),
        ("stdout", 30, ""),
        ("stdout", 30, "no end"),
        ("stdout", 30, "still here \\ud800"),
    ]
    for raw in (b"by descriptor", b"by the other", b"\xffraw", b"from a program"):
        assert raw in child.text.splitlines()


def test_an_endless_line_is_cut_into_several(tmp_path: Path) -> None:
    child = Child(
        tmp_path, "import sys\nfor _ in range(300): sys.stdout.write('x' * 1000)\nprint('y' * 200_000)\ncapture.flush()"
    )
    child.check_clean()
    lengths = [len(str(text)) for (text,) in child.said("msg")]
    assert sum(lengths) == 500_000
    assert max(lengths) <= 70_000


def test_the_standard_librarys_logging_is_captured(tmp_path: Path) -> None:
    child = Child(
        tmp_path,
        """
        import logging, warnings
        logging.debug("not shown")
        logging.info("hello %s", "you")
        logging.getLogger("shop.db").warning("slow", extra={"ms": 5, "msg_": 1})
        try: 1 / 0
        except ZeroDivisionError: logging.exception("failed")
        logging.error("wrong %d", "arguments")
        warnings.warn("old")
        """,
    )
    child.check_clean()
    assert child.said("level", "name", "msg")[:4] == [
        (30, "shop:thumbnail", "hello you"),
        (40, "shop.db", "slow"),
        (50, "shop:thumbnail", "failed"),
        (50, "shop:thumbnail", "wrong %d"),
    ]
    assert child.records[1]["ms"] == 5
    err = child.records[2]["err"]
    assert isinstance(err, dict)
    assert err["type"] == "ZeroDivisionError"
    assert "UserWarning: old" in str(child.records[4]["msg"])


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_user_code_configures_holds_and_nothing_is_said_twice(tmp_path: Path, when: str) -> None:
    setting = "import logging, sys; logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)"
    child = Child(
        tmp_path,
        (setting if when == "after" else "") + "\nimport logging; logging.debug('once')",
        before=setting if when == "before" else "",
    )
    child.check_clean()
    assert child.said("level", "msg", "stream") == [(20, "once", None)]


def test_a_log_file_that_user_code_asks_for_is_written(tmp_path: Path) -> None:
    child = Child(tmp_path, "import logging; logging.basicConfig(filename='own.txt'); logging.warning('both')")
    child.check_clean()
    assert (tmp_path / "own.txt").read_text() == "WARNING:root:both\n"
    assert child.said("msg") == [("both",)]


@pytest.mark.parametrize("when", ["before", "after"])
def test_structlog_is_rendered_as_pino(tmp_path: Path, when: str) -> None:
    child = Child(
        tmp_path,
        """
        import structlog, importlib.resources
        log = structlog.get_logger("shop.api").bind(user=7)
        log.debug("fine"); log.info("hello", level="x", data=b"abc"); log.critical("end")
        try: 1 / 0
        except ZeroDivisionError: log.exception("failed")
        with structlog.contextvars.bound_contextvars(request="r1"): log.warning("in context")
        assert type(structlog.__loader__).__name__ == type(structlog.__spec__.loader).__name__ == "SourceFileLoader"
        assert importlib.resources.files("structlog").joinpath("py.typed").is_file()
        """,
        before="import structlog" if when == "before" else "",
    )
    child.check_clean()
    assert child.said("level", "name", "msg", "user") == [
        (20, "shop.api", "fine", 7),
        (30, "shop.api", "hello", 7),
        (60, "shop.api", "end", 7),
        (50, "shop.api", "failed", 7),
        (40, "shop.api", "in context", 7),
    ]
    assert child.records[1]["data"] == "abc"
    err = child.records[3]["err"]
    assert isinstance(err, dict)
    assert "ZeroDivisionError: division by zero" in err["stack"]
    assert child.records[4]["request"] == "r1"


def test_who_configures_structlog_has_the_last_word(tmp_path: Path) -> None:
    child = Child(
        tmp_path,
        """
        import structlog
        structlog.configure(processors=[structlog.processors.KeyValueRenderer()],
                            logger_factory=structlog.PrintLoggerFactory())
        structlog.get_logger().info("mine")
        """,
    )
    child.check_clean()
    assert child.said("stream", "msg") == [("stdout", "event='mine'")]


def test_structlog_is_not_imported_for_nothing(tmp_path: Path) -> None:
    child = Child(tmp_path, "import sys; print('structlog' in sys.modules)")
    assert child.said("msg") == [("False",)]


def test_a_crash_in_native_code_leaves_all_that_was_said(tmp_path: Path) -> None:
    child = Child(
        tmp_path,
        """
        import ctypes
        print("before")
        ctypes.CDLL(None).printf(b"native line\\n")
        ctypes.string_at(0)
        """,
    )
    child.check_clean(-signal.SIGSEGV)
    assert child.said("msg") == [("before",)]
    assert b"native line" in child.text.splitlines()
    assert b"Fatal Python error: Segmentation fault" in child.text


def test_half_lines_of_native_code_are_written_at_the_end(tmp_path: Path) -> None:
    child = Child(tmp_path, "import ctypes, os; ctypes.CDLL(None).printf(b'native half'); capture.flush(); os._exit(0)")
    child.check_clean()
    assert child.text == b"native half"


def test_uncaught_exceptions_are_records_also_of_threads(tmp_path: Path) -> None:
    child = Child(
        tmp_path,
        """
        import threading
        thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()
        raise ValueError("the end")
        """,
    )
    child.check_clean(1)
    assert child.said("level", "msg") == [(50, "ZeroDivisionError: division by zero"), (50, "ValueError: the end")]
    err = child.records[1]["err"]
    assert isinstance(err, dict)
    assert 'raise ValueError("the end")' in err["stack"] or "ValueError: the end" in err["stack"]


def test_a_job_that_closes_its_descriptors_or_fills_the_disk_goes_on(tmp_path: Path) -> None:
    child = Child(
        tmp_path,
        """
        import os, resource, signal
        os.close(1); os.close(2)
        print("kept")
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize("a.log"), -1))
        print("lost"); import logging; logging.error("lost")
        os._exit(7)
        """,
    )
    child.check_clean(7)
    assert child.said("msg") == [("kept",)]


def test_forked_children_write_to_their_own_files(tmp_path: Path) -> None:
    child = Child(
        tmp_path,
        f"""
        import os
        capture.prepare()
        print("of the fork server")
        for number in (1, 2, 3):
            made = capture.make("3.log") if number == 3 else None
            pid = os.fork()
            if pid == 0:
                capture.attach(f"{{number}}.log", {BINDINGS!r} | {{"attempt": number}}, made)
                print("I am", number)
                capture.release()
                os._exit(0)
            os.waitpid(pid, 0)
        """,
        bare=True,
    )
    assert child.process.stdout == b"of the fork server\n"
    assert child.process.stderr == b""
    for number in (1, 2, 3):
        (line,) = (tmp_path / f"{number}.log").read_text().splitlines()
        assert (json.loads(line)["attempt"], json.loads(line)["msg"]) == (number, f"I am {number}")


def test_a_reused_worker_moves_from_file_to_file(tmp_path: Path) -> None:
    child = Child(
        tmp_path,
        f"""
        import os, sys
        print("first", end="")
        capture.release()
        print("between two jobs"); os.write(1, b"between\\n")
        capture.attach("b.log", {BINDINGS!r} | {{"attempt": 2}})
        print("second")
        capture.capture_process("c.log", {BINDINGS!r} | {{"attempt": 3}})
        print("third")
        """,
    )
    child.check_clean()
    logs = [child.path, tmp_path / "b.log", tmp_path / "c.log"]
    assert [[json.loads(line)["msg"] for line in log.read_text().splitlines()] for log in logs] == [
        ["first"], ["second"], ["third"],
    ]  # fmt: skip


def test_a_file_or_link_that_is_there_already_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "a.log").symlink_to(tmp_path / "victim")
    child = Child(tmp_path, "print('overwritten')")
    assert child.process.returncode == 1
    assert (tmp_path / "victim").read_text() == "mine"


# in the host process


@contextmanager
def routing() -> Iterator[None]:
    """No fixture: between set-up and test pytest replaces the standard streams."""
    router.install()
    try:
        yield
    finally:
        router.uninstall()


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@routing()
def test_output_of_attempts_in_threads_goes_to_their_logs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    both = threading.Barrier(2)

    def job(number: int) -> None:
        token = router.enter(Sink(str(tmp_path / f"{number}.log"), {**BINDINGS, "attempt": number}))
        both.wait()
        print("printed by", number)
        print("half", end="", file=sys.stderr)
        logging.getLogger("shop").error("logged by %d", number)
        bound_logger({"n": number}).debug("bound")
        assert router.leave(token)

    threads = [threading.Thread(target=job, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    print("of the host")
    logging.getLogger("shop").error("host's record")
    for thread in threads:
        thread.join()
    for number in (1, 2):
        said = [(record["attempt"], record["level"], record["msg"]) for record in records(tmp_path / f"{number}.log")]
        assert said == [
            (number, 30, f"printed by {number}"),
            (number, 50, f"logged by {number}"),
            (number, 20, "bound"),
            (number, 40, "half"),
        ]
    out, err = capfd.readouterr()
    assert "of the host" in out
    assert "by" not in out + err
    assert caplog.messages == ["host's record"]


@routing()
def test_asyncio_tasks_are_told_apart(tmp_path: Path) -> None:
    async def job(number: int, first: asyncio.Event, second: asyncio.Event) -> None:
        token = router.enter(Sink(str(tmp_path / f"{number}.log"), {**BINDINGS, "attempt": number}))
        first.set()
        await second.wait()
        print("printed by", number)
        router.leave(token)

    async def main() -> None:
        one, two = asyncio.Event(), asyncio.Event()
        await asyncio.gather(job(1, one, two), job(2, two, one))

    asyncio.run(main())
    assert [records(tmp_path / f"{number}.log")[0]["msg"] for number in (1, 2)] == ["printed by 1", "printed by 2"]


@routing()
def test_structlog_of_the_host_is_captured_and_left_as_it_is(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import structlog

    before = structlog.get_config()
    token = router.enter(Sink(str(tmp_path / "a.log"), BINDINGS))
    structlog.get_logger().warning("through print")
    router.leave(token)
    (record,) = records(tmp_path / "a.log")
    assert "through print" in str(record["msg"])
    assert structlog.get_config() == before
    assert capfd.readouterr() == ("", "")


@routing()
def test_who_says_nothing_has_no_file(tmp_path: Path) -> None:
    token = router.enter(Sink(str(tmp_path / "a.log"), BINDINGS))
    assert not router.leave(token)
    assert list(tmp_path.iterdir()) == []


@routing()
def test_a_thread_left_behind_does_not_write_into_a_closed_log(tmp_path: Path) -> None:
    sink = Sink(str(tmp_path / "a.log"), BINDINGS)
    token = router.enter(sink)
    print("in time")
    router.leave(token)
    sink.emit(30, "late")
    assert [record["msg"] for record in records(tmp_path / "a.log")] == ["in time"]


@routing()
def test_the_log_of_an_ended_attempt_is_not_held_open(tmp_path: Path) -> None:
    before = os.dup(0)
    os.close(before)
    token = router.enter(Sink(str(tmp_path / "a.log"), BINDINGS))
    print("said")
    router.leave(token)
    after = os.dup(0)  # the lowest free one
    os.close(after)
    assert after == before


@routing()
def test_a_log_that_cannot_be_made_does_not_fail_the_job(tmp_path: Path) -> None:
    token = router.enter(Sink(str(tmp_path / "none" / "a.log"), BINDINGS))
    print("lost")
    assert not router.leave(token)


def test_the_last_uninstall_puts_everything_back() -> None:
    before = (sys.stdout, sys.stderr, logging.Logger.callHandlers)
    router.install()
    router.install()
    router.uninstall()
    assert sys.stdout is not before[0]
    router.uninstall()
    assert (sys.stdout, sys.stderr, logging.Logger.callHandlers) == before


@routing()
def test_routing_costs_an_attempt_that_says_nothing_next_to_nothing() -> None:
    """Measured 0.6 µs; the bound is wide as machines differ, but a file would cost over 10."""
    best = 1.0
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(2000):
            router.leave(router.enter(Sink("/nowhere", BINDINGS)))
        best = min(best, (time.perf_counter() - start) / 2000)
    assert best < 8e-6
