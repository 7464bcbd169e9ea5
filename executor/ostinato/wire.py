"""What travels between the executor, its fork server and the attempts' processes.

Executor ↔ attempt: frames of a 4-byte big-endian length and a JSON document, on a socket pair of
their own. Executor ↔ fork server: one JSON document a line, with the attempts' sockets passed
beside the ``spare`` lines (SCM_RIGHTS).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from msgspec import Struct

from ostinato.model import Job, Kind, Outcome, Rise, Step
from ostinato.task import Ref

_LENGTH = struct.Struct(">I")
MAX_FRAME = 256 * 2**20


class Setup(Struct, frozen=True, kw_only=True):
    """The first line that a fork server gets: how to become like the application."""

    sys_path: list[str]
    argv: list[str]
    modules: list[str]
    main: str | None
    size: int
    reuse: bool
    start_method: str


class Order(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that an attempt's process is told. Durations in microseconds, memory in bytes."""

    job_id: str
    token: int
    attempt: int
    task: str
    args: str
    version: int = 1
    kind: Kind = "function"
    ref: Ref | None = None
    queue: str = "default"
    tags: tuple[str, ...] = ()
    schedule: str | None = None
    tick: int | None = None
    last_completed: int | None = None
    checkpoint: str | None = None
    steps: dict[str, str] = {}
    log: str | None = None
    memory: int | None = None
    cpu: int | None = None
    files: int | None = None
    nice: int | None = None
    max_payload: int = 2**20
    rise: Rise = Rise()


class Said(Struct, frozen=True, tag="said"):
    """A note that the attempt makes while it runs."""

    key: Literal["progress", "checkpoint"]
    value: str


class Posting(Struct, frozen=True, tag="posting"):
    """Jobs that the attempt posts at once; it waits for a `PostAnswer`."""

    jobs: list[Job]


class PostAnswer(Struct, frozen=True, omit_defaults=True):
    """What became of a `Posting`; else why it was refused, and, if that is so, which key is held by which job."""

    ids: list[str] = []
    refused: str = ""
    taken: tuple[str, str] | None = None


class Recording(Struct, frozen=True, tag="recording"):
    """The value of a step; the attempt waits for a `PostAnswer`: it goes on when it is safe."""

    name: str
    value: str


class Asking(Struct, frozen=True, tag="asking", omit_defaults=True):
    """What became of the steps of this flow (a page of them at a time), or of the jobs named; the attempt
    waits for a `StepAnswer`."""

    ids: list[str] | None = None
    cursor: str | None = None


class StepAnswer(Struct, frozen=True, omit_defaults=True):
    """The answer to an `Asking`; ``next`` is the cursor for the rest, ``refused`` why there is none."""

    steps: list[Step] = []
    next: str | None = None
    refused: str = ""


class Done(Struct, frozen=True, tag="done"):
    """The attempt's own account of its end; the process exits right after."""

    outcome: Outcome


Report = Said | Posting | Recording | Asking | Done

encode = msgspec.json.Encoder().encode
decode_order = msgspec.json.Decoder(Order).decode
decode_setup = msgspec.json.Decoder(Setup).decode
decode_report = msgspec.json.Decoder(Report).decode
decode_answer = msgspec.json.Decoder(PostAnswer).decode
decode_steps = msgspec.json.Decoder(StepAnswer).decode
decode_line = msgspec.json.Decoder(list[Any]).decode


def frame(value: Struct) -> bytes:
    data = encode(value)
    return _LENGTH.pack(len(data)) + data


class Frames:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._data += data
        while len(self._data) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._data)
            if length > MAX_FRAME:
                raise ValueError(f"a frame of {length} bytes")
            end = _LENGTH.size + length
            if len(self._data) < end:
                return
            found = bytes(self._data[_LENGTH.size : end])
            del self._data[:end]
            yield found


def receive(sock: socket.socket) -> bytes | None:
    """One frame from a blocking socket; None at its end."""
    head = _exactly(sock, _LENGTH.size)
    return None if head is None else _exactly(sock, _LENGTH.unpack(head)[0])


def _exactly(sock: socket.socket, count: int) -> bytes | None:
    data = sock.recv(count, socket.MSG_WAITALL)
    while len(data) < count:  # a signal may cut MSG_WAITALL short
        more = sock.recv(count - len(data))
        if not more:
            return None
        data += more
    return data
