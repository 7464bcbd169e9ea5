"""The plugin of pytest, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)


def test_the_kit_is_run_against_the_store_of_a_url(tmp_path: Path) -> None:
    done = run(tmp_path, "--ostinato-conformance", f"sqlite:///{tmp_path}/{{name}}.db", "-k", "test_tick or test_units")
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout
    assert len(list(tmp_path.glob("t*.db"))) > 5


def test_the_kit_has_cases_a_machine_and_the_crash_sweep(tmp_path: Path) -> None:
    done = run(tmp_path, "--ostinato-conformance", "memory://{name}", "--collect-only")
    for part in ("TestStore::test_zombie_is_refused_after_a_rescue", "TestMachine::", "::test_a_crash_at_any_call"):
        assert part in done.stdout


def test_the_kit_is_run_beside_the_tests_that_are_named(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text("def test_own(): pass\n")
    done = run(tmp_path, "test_own.py", "--ostinato-conformance", "memory://{name}", "--collect-only")
    assert "test_own.py::test_own" in done.stdout
    assert "TestStore::" in done.stdout


def test_a_url_without_a_name_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "--ostinato-conformance", "memory://")
    assert done.returncode == 4
    assert "needs {name} in the URL" in done.stderr


def test_it_costs_nothing_unless_it_is_asked_for() -> None:
    code = "import sys, ostinato_pytest.plugin; print({name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'ostinato'" not in done.stdout
    assert "'pytest'" not in done.stdout
