"""What a user gets: the built wheel, opened and compared with the list."""

from __future__ import annotations

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "ostinato",
    "ostinato_memory",
    "ostinato_sql",
    "ostinato_redis",
    "ostinato_folder",
    "ostinato_pytest",
    "ostinato_s3",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(folder)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        return opened


def test_its_top_level_names_are_these(wheel: zipfile.ZipFile) -> None:
    top = {name.partition("/")[0] for name in wheel.namelist()}
    (about,) = top - PACKAGES
    assert top - {about} == PACKAGES
    assert about.startswith("ostinato-")
    assert about.endswith(".dist-info")


def test_every_package_is_typed_and_whole(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for street in ("executor", "backends", "plugins"):
        for file in (ROOT / street).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                assert str(file.relative_to(ROOT / street)) in names
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert not [name for name in names if name.endswith((".pyc", ".db", ".log"))]


def test_its_entry_points_are_these(wheel: zipfile.ZipFile) -> None:
    with zipfile.ZipFile(str(wheel.filename)) as opened:
        (place,) = [name for name in opened.namelist() if name.endswith("entry_points.txt")]
        found = configparser.ConfigParser(delimiters=("=",))
        found.read_string(opened.read(place).decode())
    assert {section: dict(found[section]) for section in found.sections()} == {
        "console_scripts": {"ostinato": "ostinato.cli.main:main"},
        "pytest11": {"ostinato": "ostinato_pytest.plugin"},
        "ostinato": {"folder": "ostinato_folder.plugin", "s3": "ostinato_s3.plugin"},
        "ostinato.backends": {
            "memory": "ostinato_memory.plugin",
            **dict.fromkeys(("redis", "rediss", "valkey", "valkeys", "unix"), "ostinato_redis.plugin"),
            **dict.fromkeys(("sqlite", "postgresql", "postgres", "mysql", "mariadb"), "ostinato_sql.plugin"),
        },
    }
