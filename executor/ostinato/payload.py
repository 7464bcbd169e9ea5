"""The arguments of jobs that call no function: programs, notices, questions to people."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Struct

from ostinato.errors import PayloadError

Word = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*\Z")]
Variable = Annotated[str, msgspec.Meta(pattern=r"^[^\x00=]+\Z")]


class Program(Struct, frozen=True, omit_defaults=True):
    """The arguments of a script or command job."""

    argv: Annotated[list[Word], msgspec.Meta(min_length=1)]
    cwd: Word | None = None
    env: dict[Variable, Word] | None = None


def program(kind: Literal["script", "command"], argv: list[str], cwd: str | None, env: dict[str, str] | None) -> str:
    """The arguments of a script or command, as JSON. Raises PayloadError."""
    try:
        made = msgspec.convert({"argv": argv, "cwd": cwd, "env": env}, Program)
        return msgspec.json.encode(made).decode()
    except (ValueError, TypeError) as error:
        raise PayloadError(
            f"Cannot make a {kind} job of {argv!r}: {error}. Give strings only: Job.{kind}({_USAGE[kind]})."
        ) from None


_USAGE = {"script": '"nightly.py", "--full"', "command": '["ffmpeg", "-i", "in.mov", "out.mp4"]'}


class Notice(Struct, frozen=True):
    """The arguments of a job that only notifies."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    data: Any = None


def notice(name: str, data: Any) -> str:
    """The arguments of a job that only notifies, as JSON. Raises PayloadError."""
    try:
        msgspec.convert(name, Annotated[str, msgspec.Meta(min_length=1, max_length=200)])
        args = msgspec.json.encode(Notice(name, data)).decode()
        arrives = msgspec.json.decode(args)["data"]
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise PayloadError(
            f"Cannot make the event {name!r}: {error}. Give a name of 1 to 200 characters, and JSON data: "
            'Job.event("reminder", {"id": 7}).'
        ) from None
    if arrives != data:
        raise PayloadError(
            f"Cannot make the event {name!r}: its data {data!r} would arrive as {arrives!r}. Give what JSON has: "
            "text, finite numbers, lists, and dicts whose keys are text."
        )
    return args


class Question(Struct, frozen=True, omit_defaults=True):
    """The arguments of an approval. ``schema`` is the JSON Schema of the answer."""

    title: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    assignee: str = ""
    schema: dict[str, Any] = {}


def question(
    title: str, schema: Any, assignee: str, timeout: float | timedelta | None, default: Any
) -> tuple[str, str | None, int | None]:
    """The arguments of an approval and its default, as JSON, and when its time runs out (microseconds).
    Raises PayloadError."""
    try:
        made = msgspec.convert({"title": title, "assignee": assignee, "schema": msgspec.json.schema(schema)}, Question)
        args = msgspec.json.encode(made).decode()
        text = None
        if default is not None:
            text = msgspec.json.encode(default).decode()
            msgspec.json.decode(text, type=schema)
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        expires_at = None if seconds is None else time.time_ns() // 1000 + round(seconds * 1e6)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise PayloadError(
            f"Cannot ask {title!r}: {error}. Give a title, a type that JSON can carry, a default of that type and a "
            'timeout in seconds: Job.approval("Publish the report?", schema=bool, timeout=3600, default=False).'
        ) from None
    return args, text, expires_at


for _met in (Program, Notice, Question):  # for the reason that `ostinato.model` gives at its end
    msgspec.json.Decoder(_met)
