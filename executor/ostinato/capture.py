"""Inside the child process: all that an attempt says goes to its own log file.

`prepare` is called once, in the fork server before it forks, and does what is dear;
`attach` points a forked child at its file and costs little more than opening it;
`release` ends that, so that a reused worker can attach to the next one.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from ostinato import pino, structured
from ostinato.sink import FLAGS, PROCESS, LineWriter, record

_stdout = LineWriter(PROCESS, "stdout", pino.INFO, 1)
_stderr = LineWriter(PROCESS, "stderr", pino.WARN, 2)


class _RootHandler(logging.Handler):
    def emit(self, entry: logging.LogRecord) -> None:
        record(PROCESS, entry)


_handler = _RootHandler()
_basic_config = logging.basicConfig
_prepared = False
_nowhere = -1
_originals: list[object] = []  # kept: when collected they would close 1 and 2
_flush_native: Callable[[], None] | None = None


def capture_process(path: str, bindings: Mapping[str, object]) -> None:
    """From now on all output of this process goes to the file, for this attempt."""
    prepare()
    attach(path, bindings)


def prepare() -> None:
    """Put the writers and handlers in place; until `attach` their text passes unchanged."""
    global _prepared, _nowhere, _flush_native
    if _prepared:
        return
    _prepared = True
    _nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:  # else each forked child would write out our unwritten rest
            stream.flush()
    _originals.extend((sys.__stdout__, sys.__stderr__))
    sys.stdout, sys.stderr = _stdout, _stderr
    sys.__stdout__, sys.__stderr__ = _stdout, _stderr  # type: ignore[misc, assignment]
    os.register_at_fork(after_in_child=_after_fork)
    _take_logging()
    faulthandler.enable(2)
    sys.excepthook = _excepthook
    threading.excepthook = _thread_excepthook
    _flush_native = _native_lines()
    structured.configure_when_imported()
    _warm()


def make(path: str) -> int:
    """Make the log file; it must not exist."""
    return os.open(path, FLAGS, 0o600)


def attach(path: str, bindings: Mapping[str, object], fd: int | None = None) -> None:
    """Make the log file and send everything there; ``fd`` if it is made already (to `make` it
    before forking costs a third of making it in the new process)."""
    _point(make(path) if fd is None else fd, bindings)


def _point(fd: int, bindings: Mapping[str, object]) -> None:
    if PROCESS.attached:
        release()
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    # This third descriptor stays open: it still works if the job closes or redirects 1 and 2.
    PROCESS.point(fd, bindings)
    if logging.root.handlers != [_handler]:
        _own_root()


def release() -> None:
    """Write what is still in buffers, and let go of the file; at the end of each attempt."""
    flush()
    if PROCESS.fd >= 0:
        os.dup2(_nowhere, 1)
        os.dup2(_nowhere, 2)
        os.close(PROCESS.fd)
    PROCESS.point(-1, None)


def flush() -> None:
    """Write what is still in buffers (a child ends by ``os._exit``, which does not)."""
    _stdout.flush()
    _stderr.flush()
    for stream in (sys.stdout, sys.stderr):
        if stream is not _stdout and stream is not _stderr and stream is not None:
            try:
                stream.flush()
            except (OSError, ValueError):
                continue
    if _flush_native is not None:
        _flush_native()


def uncaught(error: BaseException) -> None:
    """Record the exception that ends the attempt."""
    shown = pino.error_of(error)
    PROCESS.emit(pino.ERROR, f"{shown['type']}: {shown['message']}", {"err": shown})


def _warm() -> None:
    """Run the code of `attach` often enough for the interpreter to have specialised it: else
    each forked child does that again, in its own copy of the pages (40 µs a job, measured)."""
    try:
        saved = os.dup(1), os.dup(2)
    except OSError:  # a program without a console
        return
    for _ in range(32):
        _point(os.dup(_nowhere), {})
        release()
    for number, fd in enumerate(saved, 1):
        os.dup2(fd, number)
        os.close(fd)


def _excepthook(_type: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    uncaught(error)


def _thread_excepthook(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        uncaught(args.exc_value)


def _after_fork() -> None:
    _stdout.renew_lock()
    _stderr.renew_lock()


def _take_logging() -> None:
    if logging.root.level == logging.WARNING:  # Python's default; whatever user code sets later stays
        logging.root.setLevel(logging.INFO)
    _own_root()
    logging.captureWarnings(True)
    logging.basicConfig = _keep_ours


def _own_root() -> None:
    """Our handler is on the root logger; those that would print the same again are not."""
    root = logging.root
    for other in root.handlers[:]:
        stream = getattr(other, "stream", None)
        if isinstance(other, logging.StreamHandler) and (isinstance(stream, LineWriter) or stream in _originals):
            root.removeHandler(other)
    if _handler not in root.handlers:
        root.addHandler(_handler)


def _keep_ours(**options: Any) -> None:
    """``logging.basicConfig`` does nothing if the root logger has a handler. It must not
    take ours for one, or the level and file that user code asks for would be ignored."""
    logging.root.removeHandler(_handler)
    try:
        _basic_config(**options)
    finally:
        _own_root()


def _native_lines() -> Callable[[], None] | None:
    """Let the C library write each line at once, as a dying process cannot; answers how to
    write out half lines too. None where its ``stdout`` is not to be found."""
    try:
        import ctypes

        library = ctypes.CDLL(None)
        name = "__stdoutp" if sys.platform == "darwin" else "stdout"
        library.setvbuf(ctypes.c_void_p.in_dll(library, name), None, 1, ctypes.c_size_t(0))
        every = library.fflush
    except (ImportError, OSError, ValueError, AttributeError, TypeError):
        return None

    def flush_all() -> None:
        every(None)

    return flush_all
