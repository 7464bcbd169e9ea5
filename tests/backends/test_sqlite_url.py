"""URLs of the SQLite store: what they name, and what a wrong one is answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from ostinato.errors import ConfigError
from ostinato.plugins import open_store
from ostinato_sql.plugin import ostinato_store


def test_other_schemes_are_not_ours() -> None:
    assert ostinato_store("redis://localhost") is None


def test_four_slashes_are_an_absolute_path(tmp_path: Path) -> None:
    store = ostinato_store(f"sqlite:///{tmp_path}/jobs.db")
    assert store is not None
    store.open()
    store.close()
    assert (tmp_path / "jobs.db").exists()


def test_three_slashes_are_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = ostinato_store("sqlite:///jobs.db")
    assert store is not None
    store.open()
    store.close()
    assert (tmp_path / "jobs.db").exists()


@pytest.mark.parametrize("url", ["sqlite:", "sqlite://", "sqlite:///", "sqlite:jobs.db", "sqlite://jobs.db"])
def test_url_without_a_file_is_told_how_to_name_one(url: str) -> None:
    with pytest.raises(ConfigError, match=r"sqlite:///jobs\.db"):
        ostinato_store(url)


def test_memory_is_told_the_better_way() -> None:
    with pytest.raises(ConfigError, match="memory://"):
        ostinato_store("sqlite:///:memory:")


def test_unknown_option_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'synchronous'"):
        ostinato_store("sqlite:///jobs.db?syncronous=NORMAL")
    with pytest.raises(ConfigError, match="Known options: synchronous"):
        ostinato_store("sqlite:///jobs.db?xyz=1")


def test_unknown_value_is_told_the_known() -> None:
    with pytest.raises(ConfigError, match="FULL, NORMAL"):
        ostinato_store("sqlite:///jobs.db?synchronous=OFF")


def test_one_backend_answers_to_several_schemes(tmp_path: Path) -> None:
    assert open_store(f"sqlite:///{tmp_path}/jobs.db")
    assert open_store("postgresql://nobody@127.0.0.1:1/none")
    assert open_store("postgres://nobody@127.0.0.1:1/none")
