"""Histories: what independent witnesses saw of one run of a system, as lines of JSON in a folder.

    clients ──── Call     what was asked from outside, and what was answered
    tasks ────── Effect   what attempts did to the world, outside of the store
    executors ── Heard    what they told their listeners
    the store ── Kept     what it holds at the end: each job with its attempts;  Planned: each schedule
    the test ─── Fault    what was done to whom;  Facts: what may be expected

Every witness appends to a file of its own, so that no crash of one costs the lines of another.
All times are microseconds; ``at``, ``began`` and ``ended`` of the wall clock, as the stores'.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from ostinato.errors import ConfigError
from ostinato.model import SECOND, EventKind, Schedule
from ostinato.storage import Record

Op = Literal["post", "cancel", "rerun", "forget", "answer", "limit"]


class Call(Struct, frozen=True, kw_only=True, tag="call", omit_defaults=True):
    """What a client asked. Written twice with the same ``client`` and ``number``: before the call as
    ``asked``, then with its outcome. What stays ``asked`` was cut off: nobody knows, as with
    ``unknown``. ``jobs`` are the ids asked about or answered, ``count`` how many were posted,
    ``states`` what the change made of each, ``created`` False where a post met a known job, ``limits`` the
    capacities that were set (None: from then on there is no bound, or none that is known)."""

    client: str
    number: int
    op: Op
    outcome: Literal["asked", "ok", "failed", "unknown"]
    began: int
    ended: int = 0
    jobs: tuple[str, ...] = ()
    count: int = 0
    created: tuple[bool, ...] = ()
    states: tuple[str | None, ...] = ()
    limits: dict[str, int | None] = {}


class Effect(Struct, frozen=True, kw_only=True, tag="effect", omit_defaults=True):
    """A sign of an attempt in the world. A run lasted at least from its ``begin`` to its last sign.
    ``steady`` counts suspended time too and is never set back; ``posts`` are the ids of the follow-up jobs
    asked for until the ``end``, ``perhaps`` those of them that another job's unique key may prevent."""

    kind: Literal["begin", "alive", "end"]
    job: str
    attempt: int
    pid: int
    at: int
    steady: int
    posts: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()


class Heard(Struct, frozen=True, kw_only=True, tag="heard"):
    """An event of an executor about an attempt."""

    kind: EventKind
    executor: str
    at: int
    job: str
    attempt: int


class Kept(Struct, frozen=True, tag="kept"):
    """A job as the store holds it at the end."""

    record: Record


class Planned(Struct, frozen=True, tag="planned"):
    """A schedule as the store holds it at the end, and how far it has come: its newest tick."""

    schedule: Schedule
    last: int | None


class Fault(Struct, frozen=True, kw_only=True, tag="fault"):
    """What the test did. ``whom`` is an executor's id, or empty for the store."""

    kind: Literal["kill", "freeze", "outage"]
    began: int
    ended: int
    whom: str = ""


class Facts(Struct, frozen=True, kw_only=True, tag="facts", omit_defaults=True):
    """What holds for the whole run.

    ``slack`` is how far the clocks of witnesses may be apart; ``failover`` how long after the lease
    of a killed executor its runs may take to be rescued; ``overlap`` how long a run may go on
    beside its successor; ``capacities`` those of the store from the beginning, ``slots`` of each executor (None:
    not known); ``every_tick`` the schedules whose ticks all have their job, since they were never paused nor changed;
    ``witnessed`` the tasks that leave effects (None: all); ``drained`` and ``logged`` that all has ended and
    all logs are where they belong; ``left`` what was found after the end and should not be there.
    """

    lease: int = 30 * SECOND
    slack: int = 100_000
    failover: int = 2 * SECOND
    overlap: int = 0
    capacities: dict[str, int] = {}
    every_tick: tuple[str, ...] = ()
    slots: int | None = None
    witnessed: tuple[str, ...] | None = None
    drained: bool = True
    logged: bool = True
    left: tuple[str, ...] = ()


Seen = Call | Effect | Heard | Kept | Planned | Fault | Facts


class History(Struct, frozen=True):
    """All that was seen, each kind in order of time."""

    facts: Facts = Facts()
    calls: tuple[Call, ...] = ()
    effects: tuple[Effect, ...] = ()
    heard: tuple[Heard, ...] = ()
    kept: tuple[Record, ...] = ()
    planned: tuple[Planned, ...] = ()
    faults: tuple[Fault, ...] = ()


class Log:
    """Where one witness writes. From any thread; each line is there when `write` returns."""

    def __init__(self, path: Path | str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, *seen: Seen) -> None:
        os.write(self._fd, b"".join(msgspec.json.encode(one) + b"\n" for one in seen))

    def close(self) -> None:
        os.close(self._fd)


def read(folder: Path | str) -> History:
    """The history in a folder: all lines of its files ``*.jsonl``. Raises ConfigError."""
    files = sorted(Path(folder).glob("*.jsonl"))
    if not files:
        raise ConfigError(f"There is no history in {folder}: no file in it is named *.jsonl.")
    return gathered([one for file in files for one in _lines(file)])


def gathered(seen: list[Seen]) -> History:
    """The history that these lines tell."""
    answered = {(one.client, one.number) for one in seen if isinstance(one, Call) and one.outcome != "asked"}
    calls = [
        one
        for one in seen
        if isinstance(one, Call) and (one.outcome != "asked" or (one.client, one.number) not in answered)
    ]
    return History(
        facts=next((one for one in reversed(seen) if isinstance(one, Facts)), Facts()),
        calls=tuple(sorted(calls, key=lambda call: call.began)),
        effects=tuple(sorted((one for one in seen if isinstance(one, Effect)), key=lambda effect: effect.steady)),
        heard=tuple(sorted((one for one in seen if isinstance(one, Heard)), key=lambda heard: heard.at)),
        kept=tuple(one.record for one in seen if isinstance(one, Kept)),
        planned=tuple(one for one in seen if isinstance(one, Planned)),
        faults=tuple(sorted((one for one in seen if isinstance(one, Fault)), key=lambda fault: fault.began)),
    )


def _lines(file: Path) -> Iterator[Seen]:
    lines = file.read_bytes().split(b"\n")
    # What follows the last line end is the beginning of a line whose writer was killed.
    for number, line in enumerate(lines[:-1], 1):
        try:
            yield _decoder.decode(line)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise ConfigError(f"{file}:{number} is no line of a history: {error}.") from None


_decoder: msgspec.json.Decoder[Seen] = msgspec.json.Decoder(Seen)
