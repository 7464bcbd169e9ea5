"""The record format, the spool, the bounds of a log, and reading it back."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato import pino
from ostinato.bounds import Bounds
from ostinato.errors import ConfigError, LogUnavailable
from ostinato.logs import Spool, close_log, is_closed, log_key, orphans, parse
from ostinato.reader import Place, read, tail
from ostinato_folder.store import FolderLogStore

BINDINGS = {"job": "01ABCDEFGH", "attempt": 1, "task": "shop.images:thumbnail"}
ORDER = ["level", "time", "pid", "hostname", "name", "job", "attempt", "task"]


def line(msg: object = "hi", fields: dict[str, object] | None = None, level: int = pino.INFO) -> dict[str, object]:
    written = pino.line(pino.head(BINDINGS), level, msg, fields)
    assert written.endswith(b"\n")
    assert written.count(b"\n") == 1
    decoded = json.loads(written)
    assert isinstance(decoded, dict)
    return decoded


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


# the record format


def test_keys_come_in_the_order_of_pino() -> None:
    record = line("hi", {"width": 64, "ok": True})
    assert list(record) == [*ORDER, "width", "ok", "msg"]
    assert record["level"] == 30
    assert record["pid"] == os.getpid()
    assert isinstance(record["time"], int)
    assert record["time"] > 1_700_000_000_000
    assert (record["job"], record["attempt"], record["msg"]) == ("01ABCDEFGH", 1, "hi")


def test_clashing_keys_are_renamed_and_lose_nothing() -> None:
    record = line("hi", {"level": "x", "msg": "y", "job": 1, "level_": 2})
    assert (record["level"], record["msg"], record["job"]) == (30, "hi", "01ABCDEFGH")
    assert (record["level_"], record["msg_"], record["job_"], record["level__"]) == ("x", "y", 1, 2)


def test_an_exception_becomes_err() -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error
    except ValueError as error:
        record = line("failed", {"err": error})
    err = record["err"]
    assert isinstance(err, dict)
    assert (err["type"], err["message"]) == ("ValueError", "outer")
    assert "KeyError: 'inner'" in err["stack"]


circle: list[object] = []
circle.append(circle)


@pytest.mark.parametrize(
    "value",
    [b"\xff\x00", Hostile(), float("nan"), float("inf"), "\ud800 lone", {"\udfff": 1}, {1: Hostile()}, {(1, 2): {3}},
     circle, 10**5000, object(), Path("/x"), ValueError("\ud800"), "two\nlines", {"a": [b"\xff", "\ud800"]}, type, ...],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_anything_can_be_logged(value: object) -> None:
    assert list(line("hi", {"value": value, "next": 1})) == [*ORDER, "value", "next", "msg"]
    assert isinstance(line(value)["msg"], str)


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.floats() | st.text() | st.binary(), st.lists)), st.text())
def test_every_line_is_valid_whatever_the_fields(fields: dict[str, object], msg: str) -> None:
    record = line(msg, fields)
    assert list(record)[:8] == ORDER
    assert list(record)[-1] == "msg"
    assert len(record) == 9 + len(fields)


# the spool


def test_a_spool_is_private_and_names_lead_nowhere_else(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path / "spool"), "exec1")
    assert stat.S_IMODE((tmp_path / "spool" / "exec1").stat().st_mode) == 0o700
    assert spool.path("01ABCDEFGH", 2) == str(tmp_path / "spool" / "exec1" / "01ABCDEFGH-2.log")
    assert parse("01ABCDEFGH-2.log") == ("01ABCDEFGH", 2)
    assert log_key("01ABCDEFGH", 2) == "01ABC/01ABCDEFGH-2.log"
    for bad in ("../../x", "a/b", "01ABC\0DEFGH", "x" * 300, "", "..", "01ABCDEF\n"):
        with pytest.raises(ValueError, match="not an id"):
            spool.path(bad, 1)
        assert parse(f"{bad}-1.log") is None
    with pytest.raises(ValueError, match="executor id"):
        Spool(str(tmp_path), "../exec1")
    spool.close()
    assert not (tmp_path / "spool" / "exec1").exists()


def test_a_folder_or_link_that_is_there_already_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "exec1").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="exec1"):
        Spool(str(tmp_path), "exec1")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_root_that_others_can_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(ConfigError, match="chmod go-w"):
        Spool(str(tmp_path / "open"), "exec1")


def test_the_logs_of_a_living_executor_are_not_adopted_those_of_a_dead_one_are(tmp_path: Path) -> None:
    code = (
        "import sys; from ostinato.logs import Spool; s = Spool(sys.argv[1], 'other');"
        "open(s.path('01ABCDEFGH', 1), 'w').write('said\\n'); print('ready', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        assert list(orphans(str(tmp_path))) == []
        other.kill()
    (orphan,) = orphans(str(tmp_path))
    assert [log[:2] for log in orphan.logs()] == [("01ABCDEFGH", 1)]
    assert list(orphans(str(tmp_path))) == []  # one adopter at a time
    orphan.close()
    (orphan,) = orphans(str(tmp_path))  # not empty, so it was left for the next
    os.unlink(orphan.logs()[0][2])
    orphan.close()
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_of_the_host_does_not_keep_the_lock(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path), "exec1")
    Path(spool.path("01ABCDEFGH", 1)).write_text("said\n")
    asked, answer = os.pipe()
    told, ready = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons: "this process has threads"
        child = os.fork()
    if child == 0:
        os.close(answer)
        os.write(ready, b"x")
        os.read(asked, 1)
        os._exit(0)
    os.close(asked)
    os.read(told, 1)
    spool.close()
    (orphan,) = orphans(str(tmp_path))
    orphan.close()
    for fd in (answer, told, ready):
        os.close(fd)
    os.waitpid(child, 0)


def test_links_in_an_orphaned_folder_are_left_alone(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path / "spool"), "exec1")
    os.symlink("/etc/passwd", spool.path("01ABCDEFGH", 1))
    spool.close()
    (orphan,) = orphans(str(tmp_path / "spool"))
    assert orphan.logs() == []
    orphan.close()


def test_the_executors_last_line_starts_on_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"killed in the mid")
    assert not is_closed(str(path))
    text = "attempt 1 ended: killed by signal 11 (SIGSEGV)"
    assert close_log(str(path), BINDINGS, pino.ERROR, text, {"outcome": "died", "signal": 11})
    first, last = path.read_text().splitlines()
    assert first == "killed in the mid"
    assert json.loads(last)["msg"] == text
    assert json.loads(last)["name"] == "ostinato"
    assert is_closed(str(path))
    assert not close_log(str(tmp_path / "none.log"), BINDINGS, pino.INFO, text)
    assert not (tmp_path / "none.log").exists()


# bounds


def numbered(first: int, count: int) -> bytes:
    return b"".join(b"line %08d\n" % number for number in range(first, first + count))


def sealed_lines(path: Path) -> tuple[list[bytes], dict[str, object], list[bytes]]:
    lines = path.read_bytes().splitlines()
    (at,) = (number for number, text in enumerate(lines) if b'"dropped"' in text)
    return lines[:at], json.loads(lines[at]), lines[at + 1 :]


def test_head_and_tail_of_a_flood_are_kept_while_its_writer_goes_on(tmp_path: Path) -> None:
    path, bounds = tmp_path / "a.log", Bounds(head=10_000, tail=10_000)
    total = 0
    with open(path, "ab", buffering=0) as writer:
        for _ in range(20):
            total += writer.write(numbered(total // 14, 1000))
            bounds.check(str(path))
            assert path.stat().st_size <= 30_500
        total += writer.write(numbered(total // 14, 10))
        dropped = bounds.seal(str(path), BINDINGS)
    head, mark, end = sealed_lines(path)
    assert head == numbered(0, len(head)).splitlines()
    assert 9_900 < len(head) * 14 <= 10_000
    assert end == numbered(total // 14 - len(end), len(end)).splitlines()
    assert 9_900 < len(end) * 14 <= 10_000
    assert mark["dropped"] == dropped == total - (len(head) + len(end)) * 14
    assert f"{dropped} bytes dropped" in str(mark["msg"])
    assert bounds.seal(str(path)) == 0  # once is enough


def test_a_log_within_its_bounds_is_left_as_it_is(tmp_path: Path) -> None:
    path, bounds = tmp_path / "a.log", Bounds(head=10_000, tail=10_000)
    path.write_bytes(numbered(0, 1000))
    assert not bounds.check(str(path))
    assert bounds.seal(str(path)) == 0
    assert path.read_bytes() == numbered(0, 1000)
    assert not bounds.check(str(tmp_path / "none"))
    assert bounds.seal(str(tmp_path / "none")) == 0


def test_a_flood_without_lines_is_bounded_too(tmp_path: Path) -> None:
    path, bounds = tmp_path / "a.log", Bounds(head=10_000, tail=10_000)
    path.write_bytes(b"\xff\x00" * 100_000)
    assert bounds.check(str(path))
    with open(path, "ab") as more:
        more.write(b"\xff\x00" * 3)
    bounds.seal(str(path))
    head, mark, end = sealed_lines(path)
    assert b"".join(head) == b"\xff\x00" * 5_000
    assert b"".join(end) == b"\xff\x00" * 5_000
    assert mark["dropped"] == 200_006 - 20_000


def test_who_adopts_a_cut_log_seals_it_with_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(numbered(0, 20_000))
    Bounds(head=10_000, tail=10_000).seal(str(path))
    head, mark, end = sealed_lines(path)
    assert head[0] == b"line 00000000"
    assert end[-1] == b"line 00019999"
    assert mark["dropped"] == 280_000 - (len(head) + len(end)) * 14


# reading back


def nowhere(_seconds: float) -> None:
    raise AssertionError("nothing to wait for")


def test_a_log_is_read_from_its_location_then_the_spool_then_a_snapshot(tmp_path: Path) -> None:
    store, key = FolderLogStore(str(tmp_path / "logs")), log_key("01ABCDEFGH", 1)
    spooled, uploaded = tmp_path / "spooled", tmp_path / "uploaded"
    uploaded.write_text("in the log store\n")
    spooled.write_text("in the spool\n")
    place = {"job_id": "01ABCDEFGH", "attempt": 1, "host": "far", "log_store": store}
    url = f"{store.url}/{key}"
    with pytest.raises(LogUnavailable, match=r"still on host far, its upload is pending"):
        read(Place(**place))  # type: ignore[arg-type]
    store.put(key, str(uploaded))
    assert read(Place(**place, location=url, path=str(spooled))) == "in the log store\n"  # type: ignore[arg-type]
    assert read(Place(**place, path=str(spooled))) == "in the spool\n"  # type: ignore[arg-type]
    assert read(Place(**place)) == "in the log store\n"  # type: ignore[arg-type]
    assert read(Place(**place, location="")) == ""  # type: ignore[arg-type]
    store.delete(key)
    assert read(Place(**place, location=url, path=str(spooled))) == "in the spool\n"  # type: ignore[arg-type]
    with pytest.raises(LogUnavailable, match="cannot be read now"):
        read(Place(**place, location=url))  # type: ignore[arg-type]
    with pytest.raises(LogUnavailable, match="another log store"):
        read(Place(**place, location="s3://b/x"))  # type: ignore[arg-type]


def test_a_growing_log_is_followed_through_its_removal(tmp_path: Path) -> None:
    path, ended, waited = tmp_path / "a.log", threading.Event(), iter(range(9))
    path.write_bytes(b"one\ntw")

    def wait(_seconds: float) -> None:
        with open(path if path.exists() else os.devnull, "ab") as log:
            match next(waited):
                case 0:
                    log.write(b"o\n\xc3")
                case 1:
                    log.write(b"\xa9\nlast")
                    path.unlink()
                    ended.set()

    place = Place(job_id="01ABCDEFGH", attempt=1, path=str(path))
    assert list(tail(lambda: place, ended.is_set, wait)) == ["one", "two", "é", "last"]


def test_a_flood_is_followed_through_cuts_and_to_its_end(tmp_path: Path) -> None:
    path, bounds, steps, ended = tmp_path / "a.log", Bounds(10_000, 10_000), iter(range(9)), threading.Event()
    path.write_bytes(numbered(0, 3000))

    def wait(_seconds: float) -> None:
        with open(path, "ab", buffering=0) as log:
            match next(steps):
                case 0:
                    assert bounds.check(str(path))
                    log.write(b"after the cut\n")
                case 1:
                    bounds.seal(str(path))
                    log.write(b"the last\n")
                    ended.set()

    place = Place(job_id="01ABCDEFGH", attempt=1, path=str(path))
    lines = list(tail(lambda: place, ended.is_set, wait, head=10_000))
    assert lines[:3000] == numbered(0, 3000).decode().splitlines()
    assert '"dropped"' in lines[3000]
    assert lines[3001] == "after the cut"
    assert '"dropped"' in lines[3002]
    assert lines[-2:] == ["after the cut", "the last"]


def test_a_log_of_another_host_is_followed_by_its_snapshots(tmp_path: Path) -> None:
    store, key, steps = FolderLogStore(str(tmp_path / "logs")), log_key("01ABCDEFGH", 1), iter(range(9))
    places = [Place(job_id="01ABCDEFGH", attempt=1, log_store=store)]
    ended = threading.Event()

    def wait(_seconds: float) -> None:
        match next(steps):
            case 0:
                (tmp_path / "x").write_text("one\ntw")
            case 1:
                (tmp_path / "x").write_text("one\ntwo\n")
                ended.set()
            case 2:
                (tmp_path / "x").write_text("one\ntwo\nthree\n")
                places[0] = Place(job_id="01ABCDEFGH", attempt=1, log_store=store, location=f"{store.url}/{key}")
        store.put(key, str(shutil.copy(tmp_path / "x", tmp_path / "y")))
        (tmp_path / "y").unlink()

    assert list(tail(lambda: places[0], ended.is_set, wait)) == ["one", "two", "three"]


def test_following_a_log_that_never_comes_ends(tmp_path: Path) -> None:
    place = Place(job_id="01ABCDEFGH", attempt=1, log_store=FolderLogStore(str(tmp_path)))
    assert list(tail(lambda: place, lambda: True, lambda _seconds: None)) == []


def test_pino_pretty_reads_it(tmp_path: Path) -> None:
    named = os.environ.get("PINO_PRETTY")
    command = [named] if named else ["npx", "--no-install", "pino-pretty"]
    text = pino.line(pino.head(BINDINGS), pino.ERROR, "it broke", {"err": ValueError("why"), "width": 3})
    try:
        shown = subprocess.run(command, input=text + b"raw text\n",
                               capture_output=True, timeout=60, cwd=tmp_path)  # fmt: skip
    except OSError:
        pytest.skip("no pino-pretty here: set PINO_PRETTY to its path")
    if shown.returncode and not named:
        pytest.skip("no pino-pretty here: set PINO_PRETTY to its path")
    out = shown.stdout.decode()
    assert "ERROR (shop.images:thumbnail/" in out
    assert "it broke" in out
    assert "width: 3" in out
    assert "raw text" in out
