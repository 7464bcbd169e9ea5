"""The record format: one pino-compatible JSON line per thing that happened.

Keys come in pino's order: level, time, pid, hostname, name, the bindings of the attempt
(job, attempt, task), the fields, msg. Whatever is logged, `line` answers one valid line and
never raises: a log call must not be what makes a job fail.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import Struct

TRACE, DEBUG, INFO, WARN, ERROR, FATAL = 10, 20, 30, 40, 50, 60
LEVELS = {
    "trace": TRACE,
    "debug": DEBUG,
    "info": INFO,
    "warn": WARN,
    "warning": WARN,
    "err": ERROR,
    "error": ERROR,
    "exception": ERROR,
    "critical": FATAL,
    "fatal": FATAL,
}

_OWN = frozenset({"level", "time", "pid", "hostname", "name", "msg"})
_DEEPEST, _WIDEST = 6, 1000


def text_of(value: object, show: Callable[[object], str] = repr) -> str:
    """The value as text, also if its own ``repr`` or ``str`` fails."""
    try:
        return show(value)
    except Exception as error:
        return f"<{type(value).__name__}: its {getattr(show, '__name__', 'text')}() raised {type(error).__name__}>"


_encode = msgspec.json.Encoder(enc_hook=text_of).encode


class Head(Struct, frozen=True):
    """What is the same in every line of one attempt, encoded once."""

    name: bytes
    bindings: bytes
    taken: frozenset[str]


def head(bindings: Mapping[str, object]) -> Head:
    """Encode what an attempt's lines share. Its ``task`` also is the name of its lines."""
    shared = {key: value for key, value in bindings.items() if key not in _OWN}
    name = encode(bindings.get("task", "ostinato"))
    return Head(name, _fields(shared, _OWN), _OWN | frozenset(shared))


_HOST = msgspec.json.encode(os.uname().nodename)


def line(
    about: Head, level: int, msg: object, fields: Mapping[str, object] | None = None, name: str | None = None
) -> bytes:
    """One line, newline included."""
    return b'{"level":%d,"time":%d,"pid":%d,"hostname":%b,"name":%b%b%b,"msg":%b}\n' % (
        level,
        time.time_ns() // 1_000_000,
        os.getpid(),  # not remembered: a job may fork
        _HOST,
        about.name if name is None else encode(name),
        about.bindings,
        _fields(fields, about.taken) if fields else b"",
        encode(msg if isinstance(msg, str) else text_of(msg, str)),
    )


def level_of(number: int) -> int:
    """The pino level of a level of the standard library (10 to 50, and what lies between)."""
    return max(TRACE, min(FATAL, number // 10 * 10 + 10))


def error_of(error: BaseException) -> dict[str, str]:
    """An exception as pino's ``err``; the stack tells its causes too."""
    try:
        stack = "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip()
    except Exception:
        stack = ""
    return {"type": type(error).__name__, "message": text_of(error, str), "stack": stack}


def encode(value: object) -> bytes:
    """The value as JSON, in a poorer form if there is no true one."""
    try:
        return _encode(value)
    except Exception:
        try:
            return _encode(_plain(value, 0))
        except Exception:
            return _encode(_scrub(text_of(value)))


def _fields(fields: Mapping[str, object], taken: frozenset[str]) -> bytes:
    if not fields:
        return b""
    shown: dict[str, object] = {}
    for given, value in fields.items():
        key = given if isinstance(given, str) else text_of(given, str)
        while key in taken or key in shown:
            key += "_"
        shown[key] = _shown(value)
    try:
        return b"," + _encode(shown)[1:-1]
    except Exception:
        return b"".join(b",%b:%b" % (_encode(_scrub(key)), encode(value)) for key, value in shown.items())


def _shown(value: object) -> object:
    """Bytes would become base64, and an exception its repr: nobody can read either."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, BaseException):
        return error_of(value)
    return value


def _plain(value: object, depth: int) -> object:
    """The value made of what JSON knows: for lone surrogates, odd keys, circles."""
    value = _shown(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return _scrub(value)
    if depth < _DEEPEST and isinstance(value, Mapping):
        pairs = list(value.items())[:_WIDEST]
        return {_scrub(text_of(key, str)): _plain(item, depth + 1) for key, item in pairs}
    if depth < _DEEPEST and isinstance(value, (Sequence, set, frozenset)):
        return [_plain(item, depth + 1) for item in list(value)[:_WIDEST]]
    return _scrub(text_of(value))


def _scrub(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
