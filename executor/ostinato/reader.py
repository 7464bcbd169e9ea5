"""Reading a log back, and following one that grows, from wherever it is.

A log is looked for at its recorded location in the log store, then in the spool of this host,
then as a snapshot in the log store (of a running attempt of another host).
"""

from __future__ import annotations

import codecs
import io
import os
from collections.abc import Callable, Iterator

from msgspec import Struct

from ostinato.bounds import HEAD, MARK, WINDOW
from ostinato.errors import LogUnavailable
from ostinato.logs import log_key
from ostinato.storage import LogStore

PAUSE = 0.2  # seconds between looks at a file of this host
POLL = 1.0  # seconds between looks at a snapshot in the log store
PATIENCE = 15.0  # how long after the end to wait for the final log


class Place(Struct, frozen=True, kw_only=True):
    """Where the log of one attempt may be.

    ``location`` is what was recorded (None: not uploaded yet; "": the attempt wrote nothing),
    ``path`` its spool file if that would be on this host, ``host`` where the attempt ran.
    """

    job_id: str
    attempt: int
    location: str | None = None
    path: str | None = None
    host: str = ""
    log_store: LogStore | None = None


def read(place: Place) -> str:
    """The whole log as it is now."""
    return load(place).decode("utf-8", "replace")


def load(place: Place) -> bytes:
    """The whole log as bytes."""
    if place.location == "":
        return b""
    problem = ""
    if place.location is not None:
        try:
            return _from_store(place, place.location)
        except (LogUnavailable, OSError) as error:
            problem = str(error)
    if place.path is not None:
        try:
            with open(place.path, "rb") as file:
                return file.read()
        except OSError as error:
            problem = problem or f"{place.path}: {error.strerror}"
    if place.location is None and place.log_store is not None:
        try:
            return place.log_store.get(log_key(place.job_id, place.attempt))
        except (LogUnavailable, OSError) as error:
            problem = problem or str(error)
    raise LogUnavailable(_where(place, problem))


def tail(
    place: Callable[[], Place],
    ended: Callable[[], bool],
    wait: Callable[[float], object],
    *,
    head: int = HEAD,
    patience: float = PATIENCE,
) -> Iterator[str]:
    """The lines of the log, and further ones as they come, until the attempt has ended.

    ``place`` is asked again as it may change; ``wait`` waits so many seconds (less if it knows
    of a reason); ``head`` is that of `ostinato.bounds.Bounds`.
    """
    lines = _Lines()
    seen = _Seen(head)
    spent = 0.0
    while True:
        over = ended()
        now = place()
        file = _open(now.path)
        if file is not None:
            with file:
                for data in _follow(file.fileno(), seen, ended, wait):
                    yield from lines.feed(data)
            break
        whole = _known(now)
        yield from lines.feed(seen.rest(lambda size, at, whole=whole: whole[at : at + size]))  # type: ignore[misc]
        if over and (now.location is not None or spent >= patience):
            break
        spent += POLL if over else 0.0
        wait(POLL)
    yield from lines.rest()


class _Seen:
    """How far a log was read. Its last bytes are remembered, to notice that it was cut short
    meanwhile, also if it has grown beyond that point again."""

    def __init__(self, head: int) -> None:
        self._head = head
        self._offset = 0
        self._last = b""

    def rest(self, read_at: Callable[[int, int], bytes]) -> bytes:
        """What is new, by a function like ``os.pread``."""
        if self._last and read_at(len(self._last), self._offset - len(self._last)) != self._last:
            torn = b"" if self._last.endswith(b"\n") else b"\n"
            self._resume(read_at)
            return torn + self._next(read_at)
        return self._next(read_at)

    def _next(self, read_at: Callable[[int, int], bytes]) -> bytes:
        data = read_at(1 << 30, self._offset)
        self._offset += len(data)
        self._last = (self._last + data)[-256:] if len(data) < 256 else data[-256:]
        return data

    def _resume(self, read_at: Callable[[int, int], bytes]) -> None:
        """Go on at the line that marks the gap."""
        start = max(0, self._head - WINDOW)
        around = read_at(4 * WINDOW, start)
        mark = around.find(MARK)
        if mark >= 0:
            self._offset = start + around.rfind(b"\n", 0, mark) + 1
        else:  # not ours: somebody else emptied it
            self._offset = 0
        self._last = b""


class _Lines:
    """Makes lines of bytes that come in pieces."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._half = ""

    def feed(self, data: bytes) -> list[str]:
        *lines, self._half = (self._half + self._decode(data)).split("\n")
        return lines

    def rest(self) -> list[str]:
        half, self._half = self._half + self._decode(b"", True), ""
        return [half] if half else []


def _follow(fd: int, seen: _Seen, ended: Callable[[], bool], wait: Callable[[float], object]) -> Iterator[bytes]:
    """What is in the file and what is appended. It stays readable after it was removed."""
    while True:
        over = ended()
        while data := seen.rest(lambda size, at: os.pread(fd, min(size, 1 << 20), at)):
            yield data
        if over:
            return
        wait(PAUSE)


def _open(path: str | None) -> io.FileIO | None:
    if path is None:
        return None
    try:
        return io.FileIO(path)
    except OSError:
        return None


def _known(place: Place) -> bytes:
    try:
        return load(place)
    except LogUnavailable:
        return b""


def _from_store(place: Place, location: str) -> bytes:
    store = place.log_store
    if store is None or not location.startswith(store.url + "/"):
        using = f"this one uses {store.url}" if store else "this one has none"
        raise LogUnavailable(
            f"The log of attempt {place.attempt} of job {place.job_id} is at {location}, in another log store: "
            f"{using}. Start it with log_store= of that place."
        )
    return store.get(location[len(store.url) + 1 :])


def _where(place: Place, problem: str) -> str:
    what = f"The log of attempt {place.attempt} of job {place.job_id}"
    detail = f" ({problem})" if problem else ""
    if place.location is not None:
        return f"{what} is at {place.location}, which cannot be read now{detail}."
    host = f" on host {place.host}" if place.host else ""
    return (
        f"{what} is still{host}, its upload is pending{detail}. "
        "Ask again later, or there; `ostinato doctor` tells what uploads wait for."
    )
