"""Settings: arguments, then the environment, then ostinato.toml or pyproject.toml."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from ostinato import ConfigError, Keep
from ostinato.config import DEFAULT_URL, load
from ostinato.model import SECOND
from ostinato.places import places


def test_nothing_said_is_a_file_in_this_folder(tmp_path):
    config = load({}, environ={}, folder=tmp_path)
    assert (config.url, config.queues, config.lease) == (DEFAULT_URL, ("default",), 30 * SECOND)
    assert config.slots >= 2
    assert config.keep["succeeded"] == (7 * 86400 * SECOND, None)


def test_arguments_go_before_the_environment_and_that_before_files(tmp_path):
    (tmp_path / "ostinato.toml").write_text('url = "memory://file"\nslots = 1\nlease = "1m"\nname = "file"')
    environ = {"OSTINATO_URL": "memory://env", "OSTINATO_SLOTS": "2"}
    config = load({"url": "memory://arg", "slots": None}, environ=environ, folder=tmp_path)
    assert (config.url, config.slots, config.lease, config.name) == ("memory://arg", 2, 60 * SECOND, "file")


def test_the_table_in_pyproject_is_read_if_there_is_no_ostinato_toml(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[tool.ostinato]\nqueues = ["a", "b*"]\n[tool.ostinato.keep.failed]\ncount = 5'
    )
    config = load({}, environ={}, folder=tmp_path)
    assert config.queues == ("a", "b*")
    assert config.keep["failed"] == (None, 5)
    assert config.keep["succeeded"] == (7 * 86400 * SECOND, None)
    (tmp_path / "ostinato.toml").write_text('queues = ["c"]')
    assert load({}, environ={}, folder=tmp_path).queues == ("c",)


def test_the_environment_is_read_as_text(tmp_path):
    environ = {
        "OSTINATO_SLOTS": "3", "OSTINATO_QUEUES": "a, b,", "OSTINATO_LEASE": "1m", "OSTINATO_GRACE": "2.5",
        "OSTINATO_MAX_PAYLOAD": "2M", "OSTINATO_JOB_ID": "not a setting", "OTHER": "x",
    }  # fmt: skip
    config = load({}, environ=environ, folder=tmp_path)
    assert (config.slots, config.queues, config.lease) == (3, ("a", "b"), 60 * SECOND)
    assert (config.grace, config.max_payload) == (2.5 * SECOND, 2 * 2**20)


def test_arguments_may_be_what_their_types_say(tmp_path):
    given = {"lease": timedelta(seconds=5), "queues": ("a",), "keep": {"failed": Keep("1d", 3)}}
    config = load(given, environ={}, folder=tmp_path)
    assert (config.lease, config.queues) == (5 * SECOND, ("a",))
    assert config.keep["failed"] == (86400 * SECOND, 3)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"slots": 0}, "slots"), ({"slots": "4"}, "slots='4'"), ({"slots": True}, "slots"), ({"queues": "a"}, "queues"),
        ({"queues": []}, "queues is empty"), ({"queues": ["a b"]}, "queue name"), ({"lease": "soon"}, "lease"),
        ({"lease": 0.1}, "lease=0.1 is too short"), ({"grace": -1}, "grace"), ({"poll": 0}, "poll"),
        ({"max_payload": "x"}, "max_payload"), ({"start_method": "frok"}, "Did you mean 'fork'"),
        ({"keep": {"succeded": Keep()}}, "Did you mean 'succeeded'"),
        ({"keep": {"failed": Keep("long")}}, "keep.failed"),
        ({"keep": {"failed": Keep(count=-1)}}, "keep.failed"), ({"url": 5}, "url"),
        ({"slotz": 1}, "Did you mean 'slots'"),
        ({"name": 5}, "name"), ({"log_store": 5}, "log_store"), ({"lease": b"5"}, "lease"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_wrong_setting_is_one_clear_error(tmp_path, given, said):
    with pytest.raises(ConfigError) as caught:
        load(given, environ={}, folder=tmp_path)
    assert said in str(caught.value)


def test_the_error_names_where_the_setting_stands(tmp_path):
    with pytest.raises(ConfigError, match=r"slots='many' \(in the environment\)"):
        load({}, environ={"OSTINATO_SLOTS": "many"}, folder=tmp_path)
    file = tmp_path / "ostinato.toml"
    file.write_text("slotz = 4")
    with pytest.raises(ConfigError, match=r"slotz.*ostinato\.toml.*Did you mean 'slots'"):
        load({}, environ={}, folder=tmp_path)
    file.write_text("slots = = 4")
    with pytest.raises(ConfigError, match=r"ostinato\.toml cannot be read"):
        load({}, environ={}, folder=tmp_path)
    file.unlink()
    file.mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load({}, environ={}, folder=tmp_path)


@pytest.mark.parametrize("text", ["tool = 3", "[tool]\nostinato = 4", "[[tool.ostinato]]\nslots = 1"])
def test_a_table_that_is_none_is_one_clear_error(tmp_path: Path, text):
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"pyproject\.toml"):
        load({}, environ={}, folder=tmp_path)


def test_each_store_has_a_spool_of_its_own():
    """Else the logs of one would be taken over for another, which does not know their jobs."""

    def spool(url):
        return places(load({"url": url}, environ={}, folder=Path("/"))).spool

    one = spool("postgresql://me:secret@db.example/jobs?prefix=a_")
    assert one == spool("postgresql://another:word@db.example/jobs?prefix=a_")
    others = [
        "postgresql://db.example/jobs?prefix=b_",
        "postgresql://db.example/other?prefix=a_",
        "redis://db.example/0",
    ]
    assert len({one, *map(spool, others)}) == 4
