"""Pino's JSON lines for people: ``09:41:07.123 INFO  message  key=value``."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click

_LEVELS = {
    10: ("TRACE", "bright_black"),
    20: ("DEBUG", "cyan"),
    30: ("INFO", "green"),
    40: ("WARN", "yellow"),
    50: ("ERROR", "red"),
    60: ("FATAL", "magenta"),
}
_SHARED = frozenset({"level", "time", "pid", "hostname", "name", "job", "attempt", "task", "msg", "err", "stream"})


def pretty(line: str) -> str:
    """The line for a terminal; as it is, if it is none of ours."""
    try:
        record = json.loads(line)
        at = datetime.fromtimestamp(record["time"] / 1000).strftime("%H:%M:%S.%f")[
            :-3
        ]  # local time, as people's clocks
        level, colour = _LEVELS.get(record["level"], (str(record["level"]), "white"))
    except (ValueError, TypeError, KeyError, OverflowError, OSError):
        return line
    said = click.style(str(record.get("msg", "")), bold=record["level"] >= 40)
    fields = [click.style(f"{key}={_short(value)}", dim=True) for key, value in record.items() if key not in _SHARED]
    text = " ".join([click.style(at, dim=True), click.style(f"{level:<5}", fg=colour), said, *fields])
    stack = _stack(record.get("err"))
    return f"{text}\n{click.style(stack, fg='red')}" if stack else text


def _short(value: Any) -> str:
    return value if isinstance(value, str) and value and " " not in value else json.dumps(value, ensure_ascii=False)


def _stack(error: Any) -> str:
    return str(error.get("stack") or error.get("message") or "").rstrip() if isinstance(error, dict) else ""
