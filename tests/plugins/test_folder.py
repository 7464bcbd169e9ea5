"""The log store in a folder."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pluggy
import pytest

import ostinato_folder.plugin
import ostinato_s3.plugin
from ostinato import hooks
from ostinato.errors import ConfigError, LogUnavailable
from ostinato_folder.plugin import ostinato_log_store
from ostinato_folder.store import FolderLogStore

KEY = "01ABC/01ABCDEFGH-1.log"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "spooled.log"
    path.write_bytes(b"one\n")
    return path


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_what_was_put_is_read_back_and_deleted(form: str, tmp_path: Path, log: Path) -> None:
    store = ostinato_log_store(form.format(tmp_path / "a folder" / "logs"))
    assert store is not None
    assert store.url == (tmp_path / "a folder" / "logs").as_uri()
    store.put(KEY, str(log))
    assert log.exists()
    log.unlink()
    assert store.get(KEY) == b"one\n"
    store.delete(KEY)
    store.delete(KEY)
    with pytest.raises(LogUnavailable, match=KEY):
        store.get(KEY)


def test_a_log_is_linked_and_not_copied(tmp_path: Path, log: Path) -> None:
    FolderLogStore(str(tmp_path / "logs")).put(KEY, str(log))
    assert (tmp_path / "logs" / KEY).samefile(log)


@pytest.mark.parametrize("links", [True, False], ids=["link", "copy"])
def test_putting_again_replaces_and_leaves_nothing_behind(
    links: bool, tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:

        def refuse(*_args: object, **_options: object) -> None:
            raise OSError(errno.EXDEV, "another file system")

        monkeypatch.setattr(os, "link", refuse)
    store = FolderLogStore(str(tmp_path / "logs"))
    if not links:
        (tmp_path / "logs" / "01ABC").mkdir(parents=True)
    store.put(KEY, str(log))
    store.put(KEY, str(log))
    other = tmp_path / "other.log"
    other.write_bytes(b"two\n")
    store.put(KEY, str(other))
    assert store.get(KEY) == b"two\n"
    assert log.read_bytes() == b"one\n"
    assert [path.name for path in (tmp_path / "logs" / "01ABC").iterdir()] == ["01ABCDEFGH-1.log"]


def test_on_another_file_system_folders_are_made_and_the_log_is_copied(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_source: str, target: str, **_options: object) -> None:
        found = os.path.isdir(os.path.dirname(target))
        raise OSError(errno.EXDEV, "another file system") if found else FileNotFoundError(errno.ENOENT, "none")

    monkeypatch.setattr(os, "link", refuse)
    store = FolderLogStore(str(tmp_path / "logs"))
    store.put(KEY, str(log))
    assert store.get(KEY) == b"one\n"
    assert not (tmp_path / "logs" / KEY).samefile(log)


def test_folders_are_for_their_owner_only(tmp_path: Path, log: Path) -> None:
    FolderLogStore(str(tmp_path / "logs")).put(KEY, str(log))
    for path in (tmp_path / "logs", tmp_path / "logs" / "01ABC"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


@pytest.mark.parametrize("key", ["../x.log", "a/../../x", "/etc/passwd", "a//b", "", "a/\0", "a\\b", ".hidden/x"])
def test_a_key_cannot_lead_out(key: str, tmp_path: Path, log: Path) -> None:
    store = FolderLogStore(str(tmp_path / "logs"))
    for act in (lambda: store.put(key, str(log)), lambda: store.get(key), lambda: store.delete(key)):
        with pytest.raises(ValueError, match="lead out"):
            act()


@pytest.mark.parametrize("url", ["file://relative/path", "file:///logs?sync=1", ""])
def test_a_malformed_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        ostinato_log_store(url)


def test_a_file_is_no_folder(log: Path) -> None:
    with pytest.raises(ConfigError, match="not a folder"):
        ostinato_log_store(str(log))


def test_the_plugins_answer_by_their_hooks_for_their_own_urls(tmp_path: Path) -> None:
    manager = pluggy.PluginManager("ostinato")
    manager.add_hookspecs(hooks)
    for plugin in (ostinato_folder.plugin, ostinato_s3.plugin):
        manager.register(plugin)
    assert manager.hook.ostinato_log_store(url=str(tmp_path)).url == tmp_path.as_uri()
    assert manager.hook.ostinato_log_store(url="s3://bucket/prefix").url == "s3://bucket/prefix"
    assert manager.hook.ostinato_log_store(url="gopher://hole") is None


def test_other_urls_are_not_ours() -> None:
    assert ostinato_log_store("s3://bucket/prefix") is None
