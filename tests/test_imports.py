"""The rules of the house: who may import what. The floors are read from the architecture page,
so that the picture there cannot rot."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "executor" / "ostinato"
PAGE = ROOT / "docs" / "explanation" / "architecture.md"
SEAM = {"ostinato.model", "ostinato.storage", "ostinato.rules", "ostinato.hooks", "ostinato.errors"}
STREETS = {
    "executor": {"ostinato"},
    "backends": {"ostinato_memory", "ostinato_sql", "ostinato_redis"},
    "plugins": {"ostinato_folder", "ostinato_pytest", "ostinato_s3"},
}


@lru_cache
def modules() -> dict[str, Path]:
    """All modules of the three streets by name."""
    found = {}
    for street in STREETS:
        for file in sorted((ROOT / street).rglob("*.py")):
            parts = file.relative_to(ROOT / street).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


@lru_cache
def imports(name: str) -> frozenset[str]:
    """What a module imports of ours: anywhere in it, for types too."""
    found = set()
    for node in ast.walk(ast.parse(modules()[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in modules() else str(node.module))
    return frozenset(one for one in found if one.partition(".")[0] in {name for s in STREETS.values() for name in s})


def room(name: str) -> str:
    parts = name.split(".")
    if len(parts) == 1:
        return "__init__"
    return f"{parts[1]}/" if (CORE / parts[1]).is_dir() else parts[1]


def floors() -> dict[str, int]:
    return {
        room: int(floor) for floor, room in re.findall(r"^\| (\d+) \| `([\w/]+)` \|", PAGE.read_text(), re.MULTILINE)
    }


def core() -> list[str]:
    return [name for name in modules() if name.partition(".")[0] == "ostinato"]


def reached(start: str) -> set[str]:
    """All that is imported by it, directly or not."""
    found: set[str] = set()
    ahead = [start]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += imports(name) - found
    return found


def test_the_picture_shows_every_room_and_no_other() -> None:
    assert set(floors()) == {room(name) for name in core()}


@pytest.mark.parametrize("name", core())
def test_imports_lead_downwards_only(name: str) -> None:
    floor = floors()
    above = {
        one
        for one in imports(name)
        if one.partition(".")[0] == "ostinato" and room(one) != room(name) and floor[room(one)] >= floor[room(name)]
    }
    assert not above, f"{name} (floor {floor[room(name)]}) imports {sorted(above)}"


def test_there_are_no_circles() -> None:
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a circle: {' -> '.join((*path[path.index(name) :], name))}"
        if name not in done:
            for one in imports(name) - {name}:
                visit(one, (*path, name))
            done.add(name)

    for name in modules():
        visit(name, ())


def test_the_core_imports_no_backend_and_no_plugin() -> None:
    for name in core():
        assert {one.partition(".")[0] for one in imports(name)} <= {"ostinato"}, name


def test_backends_and_plugins_import_the_seam_only() -> None:
    for name in set(modules()) - set(core()):
        own = name.partition(".")[0]
        others = {one for one in imports(name) if one.partition(".")[0] != own}
        assert others <= SEAM, f"{name} imports {sorted(others - SEAM)}"


@pytest.mark.parametrize("start", ["ostinato.forkserver", "ostinato.spawned", "ostinato.child"])
def test_the_side_of_the_attempts_knows_no_store_and_no_loop(start: str) -> None:
    forbidden = {"storage", "hooks", "plugins", "engine", "dispatcher", "settler", "keeper", "uploader", "handle"}
    rooms = {room(name) for name in reached(start)}
    assert not rooms & (forbidden | {"executor", "runners/", "cli/"})
    assert all(name.partition(".")[0] == "ostinato" for name in reached(start))


def test_the_streets_hold_houses_and_nothing_else() -> None:
    for street, houses in STREETS.items():
        found = {path.name for path in (ROOT / street).iterdir() if path.name != "__pycache__"}
        assert found == houses
        for house in houses:
            assert (ROOT / street / house / "py.typed").is_file()
            assert (ROOT / street / house / "__init__.py").is_file()
