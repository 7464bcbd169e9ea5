"""The log store on S3, against two real servers."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path

import pytest
from s3_servers import BUCKET, KEY, SECRET, Server, free_port

from ostinato.errors import ConfigError, LogUnavailable
from ostinato_s3.plugin import ostinato_log_store


def test_what_was_put_is_read_back_replaced_and_deleted(s3_url: str, tmp_path: Path) -> None:
    store = ostinato_log_store(s3_url)
    assert store is not None
    log = tmp_path / "a.log"
    log.write_bytes(b'{"level":30}\n')
    store.put("01ABC/01ABCDEFGH-1.log", str(log))
    assert log.exists()
    assert store.get("01ABC/01ABCDEFGH-1.log") == b'{"level":30}\n'
    log.write_bytes(b"longer than it was\n" * 1000)
    store.put("01ABC/01ABCDEFGH-1.log", str(log))
    assert store.get("01ABC/01ABCDEFGH-1.log") == log.read_bytes()
    store.delete("01ABC/01ABCDEFGH-1.log")
    store.delete("01ABC/01ABCDEFGH-1.log")
    with pytest.raises(LogUnavailable, match="no log 01ABC"):
        store.get("01ABC/01ABCDEFGH-1.log")


def test_a_large_log_goes_in_parts(s3_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ostinato_s3.store.WHOLE", 1024)
    store = ostinato_log_store(s3_url)
    assert store is not None
    log = tmp_path / "big.log"
    log.write_bytes(bytes(range(256)) * 40 * 1024)
    store.put("01ABC/big-1.log", str(log))
    assert store.get("01ABC/big-1.log") == log.read_bytes()


def test_the_url_tells_no_secrets(s3_url: str) -> None:
    store = ostinato_log_store(s3_url)
    assert store is not None
    assert store.url == f"s3://{BUCKET}/some/where"


def test_a_wrong_secret_is_said_in_short(rclone: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OSTINATO_S3_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("OSTINATO_S3_SECRET_ACCESS_KEY", "not the " + SECRET)
    store = ostinato_log_store(f"s3://{BUCKET}?endpoint={rclone.endpoint}")
    assert store is not None
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(OSError, match=r"^403 SignatureDoesNotMatch from http://127.0.0.1:\d+$"):
        store.put("01ABC/x-1.log", str(tmp_path / "x"))


def test_a_missing_bucket_is_an_error_and_not_a_missing_log(
    s3_url: str, rclone: Server, moto: Server, tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(b"x")
    for server in (rclone, moto):
        store = ostinato_log_store(f"s3://nobucket/p?endpoint={server.endpoint}")
        assert store is not None
        with pytest.raises(OSError, match="404 NoSuchBucket"):
            store.put("01ABC/x-1.log", str(tmp_path / "x"))


def test_an_unreachable_server_is_said_in_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    store = ostinato_log_store(f"s3://{BUCKET}?endpoint=http://127.0.0.1:{free_port()}")
    assert store is not None
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(OSError, match=r"^Connection refused from http"):
        store.put("01ABC/x-1.log", str(tmp_path / "x"))


def test_a_wrong_option_is_refused_with_a_hint() -> None:
    with pytest.raises(ConfigError, match=r"'endpont'.*did you mean 'endpoint'"):
        ostinato_log_store("s3://bucket?endpont=http://127.0.0.1:1")


@pytest.mark.parametrize(
    "url", ["s3://", "s3:///prefix", "s3://b?endpoint=localhost:9000", "s3://b/x?region=a&region=b"]
)
def test_a_malformed_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        ostinato_log_store(url)


def test_credentials_in_the_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        ostinato_log_store("s3://key:topsecret@bucket/prefix")
    assert "topsecret" not in str(caught.value)


def test_an_endpoint_without_credentials_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "OSTINATO_S3_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID"):
        ostinato_log_store("s3://bucket?endpoint=http://127.0.0.1:9000")


def test_without_obstore_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name.partition(".")[0] == "obstore":
            raise ImportError("none", name=name)
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.delitem(sys.modules, "ostinato_s3.store", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'ostinato\[s3\]'"):
        ostinato_log_store("s3://bucket/prefix")


def test_other_urls_are_not_ours() -> None:
    assert ostinato_log_store("/some/folder") is None
    assert ostinato_log_store("file:///some/folder") is None
