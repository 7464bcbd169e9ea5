"""The uploader: whatever befalls the log store, no log is lost and nobody waits."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from s3_servers import BUCKET, KEY, SECRET, Server, wait_until

from ostinato import pino
from ostinato.errors import StoreUnavailable
from ostinato.logs import Spool, close_log, log_key
from ostinato.storage import LogStore, Note
from ostinato.uploader import Uploader
from ostinato_folder.store import FolderLogStore
from ostinato_s3.plugin import ostinato_log_store

QUICK = (0.02, 0.1)


def job(number: int) -> str:
    return f"01ABC{number:05d}"


class Notes:
    """Records what would go to the store; ``broken`` is raised, ``forgotten`` jobs are unknown."""

    def __init__(self) -> None:
        self.calls: list[list[Note]] = []
        self.broken: Exception | None = None
        self.forgotten: set[str] = set()
        self.tried = threading.Event()

    def __call__(self, notes: list[Note]) -> list[bool]:
        self.tried.set()
        if self.broken is not None:
            raise self.broken
        self.calls.append(notes)
        return [note.job_id not in self.forgotten for note in notes]

    @property
    def all(self) -> dict[tuple[str, int], str]:
        return {(note.job_id, note.attempt): note.value for call in self.calls for note in call}


class Room:
    """A spool with its uploader, over a log store."""

    def __init__(
        self, root: Path, log_store: LogStore, name: str = "exec1", notes: Notes | None = None, **more: object
    ):
        self.spool = Spool(str(root / "spool"), name)
        self.log_store = log_store
        self.notes = Notes()
        self.events: list[tuple[str, int, str]] = []
        self.uploader = Uploader(
            log_store,
            self.notes,
            self.spool,
            lambda *event: self.events.append(event),
            **{"backoff": QUICK, **more},  # type: ignore[arg-type]
        )

    def ended(self, number: int, text: str = "", closed: bool = True) -> Path:
        """Write the log of a job and hand it over."""
        path = self.log(number, text)
        if closed:
            close_log(str(path), {"job": job(number), "attempt": 1}, pino.INFO, "ended", {"outcome": "success"})
        self.uploader.put(job(number), 1, 5, str(path))
        return path

    def log(self, number: int, text: str = "") -> Path:
        path = Path(self.spool.path(job(number), 1))
        path.write_text(text or f"said by {number}\n")
        return path

    def stored(self, number: int) -> str:
        return self.log_store.get(log_key(job(number), 1)).decode()

    def close(self, timeout: float = 0.0) -> bool:
        done = self.uploader.stop(timeout)
        self.spool.close()
        return done


Make = Callable[..., Room]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes rooms over a folder, or another log store, and closes them at the end."""
    rooms: list[Room] = []

    def made(log_store: LogStore | None = None, **options: object) -> Room:
        rooms.append(Room(tmp_path, log_store or FolderLogStore(str(tmp_path / "logs")), **options))  # type: ignore[arg-type]
        return rooms[-1]

    yield made
    for room in rooms:
        room.close()


@pytest.fixture
def s3(rclone: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LogStore:
    """A log store on the strict server, in a place of this test's own."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    store = ostinato_log_store(f"s3://{BUCKET}/{tmp_path.name}?endpoint={rclone.endpoint}")
    assert store is not None
    return store


def test_logs_are_uploaded_then_recorded_in_batches_then_removed(make: Make) -> None:
    room = make()
    paths = [room.ended(number) for number in range(250)]
    room.uploader.start()
    assert room.uploader.flush(20)
    assert room.notes.all == {(job(n), 1): f"{room.log_store.url}/{log_key(job(n), 1)}" for n in range(250)}
    assert {note.token for call in room.notes.calls for note in call} == {5}
    assert {note.key for call in room.notes.calls for note in call} == {"log"}
    assert [len(call) for call in room.notes.calls] == [100, 100, 50]
    assert room.stored(7).startswith("said by 7\n")
    assert not any(path.exists() for path in paths)
    assert room.events == [(job(n), 1, room.notes.all[job(n), 1]) for n in range(250)]
    assert str(room.uploader.state()) == "logs uploaded"
    folder = Path(room.spool.folder)
    room.close()
    assert not folder.exists()


def test_logs_go_to_each_s3_server(make: Make, s3_url: str) -> None:
    store = ostinato_log_store(s3_url)
    assert store is not None
    room = make(store)
    room.uploader.start()
    for number in range(40):
        room.ended(number)
    assert room.uploader.flush(30)
    assert sorted(room.notes.all) == [(job(n), 1) for n in range(40)]
    assert all(room.stored(n).startswith(f"said by {n}\n") for n in range(40))


def test_a_file_is_removed_only_once_its_location_is_recorded(make: Make) -> None:
    room = make()
    room.notes.broken = StoreUnavailable("the store is away")
    path = room.ended(1)
    room.uploader.start()
    assert room.notes.tried.wait(10)
    assert not room.uploader.flush(0.2)
    assert path.exists()
    assert "the store does not record: the store is away" in str(room.uploader.state())
    room.notes.broken = None
    assert room.uploader.flush(10)
    assert not path.exists()
    assert list(room.notes.all) == [(job(1), 1)]


def test_an_outage_delays_nobody_and_loses_nothing(
    make: Make, s3: LogStore, rclone: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ostinato.uploader")
    room = make(s3)
    room.uploader.start()
    room.ended(0)
    assert room.uploader.flush(20)
    rclone.stop()
    try:
        paths = [room.ended(number) for number in range(1, 30)]
        wait_until(lambda: room.uploader.state().reason)
        assert str(room.uploader.state()) == f"log pending: 29 logs, Connection refused from {rclone.endpoint}"
        assert all(path.exists() for path in paths)
    finally:
        rclone.start()
    assert room.uploader.flush(30)
    assert sorted(room.notes.all) == [(job(n), 1) for n in range(30)]
    assert all(room.stored(n).startswith(f"said by {n}\n") for n in range(30))
    assert not any(path.exists() for path in paths)
    levels = [record.levelname for record in caplog.records if record.name == "ostinato.uploader"]
    assert levels == ["WARNING", "INFO"]
    assert "Connection refused" in caplog.messages[0]


def test_handing_over_never_waits_for_a_log_store_that_hangs(make: Make, s3: LogStore, rclone: Server) -> None:
    room = make(s3)
    room.uploader.start()
    rclone.signal(signal.SIGSTOP)
    try:
        start = time.perf_counter()
        for number in range(200):
            room.uploader.put(job(number), 1, 5, str(room.log(number)))
        took = time.perf_counter() - start
        assert not room.uploader.flush(0.1)
    finally:
        rclone.signal(signal.SIGCONT)
    assert took < 2  # a request would have taken 10 s
    assert room.uploader.flush(30)
    assert len(room.notes.all) == 200


class Away(FolderLogStore):
    """A folder on a mount that is away; counts who asks for it, and how often at once."""

    tries = 0
    away = True

    def put(self, key: str, path: str) -> None:
        if self.away:
            self.tries += 1
            raise OSError("Transport endpoint is not connected")
        super().put(key, path)


def test_while_the_log_store_is_away_one_log_after_another_is_tried(make: Make, tmp_path: Path) -> None:
    store = Away(str(tmp_path / "logs"))
    room = make(store, backoff=(3600.0, 3600.0))
    for number in range(50):
        room.ended(number)
    room.uploader.start()
    wait_until(lambda: store.tries == 50)
    for tries in (51, 52, 53):
        assert not room.uploader.flush(0.05)  # each asks for one more try at once
        wait_until(lambda tries=tries: store.tries == tries)  # type: ignore[misc]
    store.away = False
    assert room.uploader.flush(10)
    assert len(room.notes.all) == 50


def test_a_wrong_secret_is_told_and_nothing_is_lost(
    make: Make, rclone: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    store = ostinato_log_store(f"s3://{BUCKET}?endpoint={rclone.endpoint}")
    assert store is not None
    room = make(store)
    room.uploader.start()
    path = room.ended(1)
    wait_until(lambda: room.uploader.state().reason)
    assert str(room.uploader.state()) == f"log pending: 1 log, 403 SignatureDoesNotMatch from {rclone.endpoint}"
    assert path.exists()


def test_after_a_restart_what_was_left_is_uploaded(make: Make, s3: LogStore, rclone: Server) -> None:
    before = make(s3)
    before.uploader.start()
    rclone.stop()
    try:
        closed = before.ended(1)
        open_ended = before.log(2, "was still run")  # killed in the middle of a line, with its executor
        wait_until(lambda: before.uploader.state().reason)
        assert not before.close(0.05)
        assert closed.exists()
        assert open_ended.exists()
    finally:
        rclone.start()
    after = make(s3, name="exec2")
    after.uploader.start()
    wait_until(lambda: len(after.notes.all) == 2)
    assert after.uploader.flush(20)
    assert [json.loads(line)["msg"] for line in after.stored(1).splitlines()[1:]] == ["ended"]
    first, last = after.stored(2).splitlines()
    assert first == "was still run"
    assert json.loads(last)["msg"] == "the executor was lost before it could say here how attempt 1 ended"
    assert json.loads(last)["outcome"] == "unknown"
    wait_until(lambda: not Path(before.spool.folder).exists())


def test_executors_that_die_later_are_adopted_too(make: Make) -> None:
    room, other = make(adopt_every=0.02), make(name="exec2")
    room.uploader.start()
    other.log(1)
    room.ended(2)
    assert room.uploader.flush(10)
    assert list(room.notes.all) == [(job(2), 1)]
    other.spool.forget()  # as the kernel does when it dies
    wait_until(lambda: (job(1), 1) in room.notes.all)


def test_a_log_adopted_before_its_attempt_was_rescued_is_recorded_after_that(make: Make) -> None:
    """Nothing can be recorded of an attempt that the store believes to run."""
    room, other = make(adopt_every=0.02), make(name="exec2")
    file = other.log(1)
    other.spool.forget()
    room.notes.forgotten.add(job(1))
    room.uploader.start()
    wait_until(lambda: (job(1), 1) in room.notes.all)
    assert file.exists()
    room.notes.forgotten.clear()
    wait_until(lambda: room.events)  # it is told when the file is gone
    assert not file.exists()
    assert len(room.events) == 1


def test_the_log_of_a_lost_attempt_is_recorded_once_its_rescuer_has_ended_it(make: Make) -> None:
    """The executor was frozen and is back, just before another one ends its attempt."""
    room = make()
    room.uploader.start()
    room.notes.forgotten = {job(1)}
    path = room.log(1)
    room.uploader.put_all([(job(1), 1, 5, str(path))], lost=True)
    wait_until(lambda: len(room.notes.calls) >= 2)
    assert path.exists()
    room.notes.forgotten = set()
    assert room.uploader.flush(5)
    assert room.events == [(job(1), 1, f"{room.log_store.url}/{log_key(job(1), 1)}")]
    assert not path.exists()


def test_one_log_that_cannot_be_read_does_not_hold_back_the_others(make: Make) -> None:
    room = make()
    Path(room.spool.path(job(0), 1)).mkdir()
    room.uploader.put(job(0), 1, 5, room.spool.path(job(0), 1))
    for number in range(1, 150):
        room.ended(number)
    room.uploader.start()
    wait_until(lambda: len(room.notes.all) == 149)
    assert room.uploader.state().pending == 1


def test_an_attempt_that_wrote_nothing_has_an_empty_location(make: Make) -> None:
    room = make()
    room.uploader.start()
    Path(room.spool.path(job(1), 1)).touch()
    room.uploader.put(job(1), 1, 5, room.spool.path(job(1), 1))
    room.uploader.put(job(2), 1, 5, room.spool.path(job(2), 1))
    assert room.uploader.flush(10)
    assert room.notes.all == {(job(1), 1): "", (job(2), 1): ""}
    assert not Path(room.spool.path(job(1), 1)).exists()


def test_of_a_forgotten_job_the_file_is_removed_without_an_event(make: Make) -> None:
    room = make()
    room.notes.forgotten = {job(1)}
    paths = [room.ended(1), room.ended(2)]
    room.uploader.start()
    assert room.uploader.flush(10)
    assert not any(path.exists() for path in paths)
    assert [event[0] for event in room.events] == [job(2)]


def test_a_running_log_can_be_followed_and_its_final_form_stays(make: Make) -> None:
    running: list[tuple[str, int, str]] = []
    rounds: list[None] = []
    room = make(running=lambda: [rounds.append(None), *running][1:], interval=0.02)
    path = room.log(1, "one\n")
    running.append((job(1), 1, str(path)))
    room.uploader.start()

    def snapshot() -> str:
        return room.stored(1) if (Path(room.log_store.url[7:]) / log_key(job(1), 1)).exists() else ""

    wait_until(lambda: snapshot() == "one\n")
    with path.open("a") as log:
        log.write("two\n")
    wait_until(lambda: snapshot() == "one\ntwo\n")
    assert room.notes.all == {}  # it has not ended
    with path.open("a") as log:
        log.write("three\n")
    room.uploader.put(job(1), 1, 5, str(path))
    assert room.uploader.flush(10)
    path.write_text("an old view of it\n")  # still told to be running
    before = len(rounds)
    wait_until(lambda: len(rounds) > before + 2)
    assert snapshot() == "one\ntwo\nthree\n"
