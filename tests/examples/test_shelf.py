"""The example of a third party's backend passes the conformance kit, as the how-to page says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SHELF = Path(__file__).resolve().parents[2] / "examples" / "shelf"
SOME = ["-k", "TestMachine or crash or zombie or at_once"]
"""What finds most; ``OSTINATO_TEST_FULL=1`` runs all of it."""


def test_the_shelf_passes_the_kit(tmp_path: Path) -> None:
    about = tmp_path / "site" / "ostinato_shelf-1.dist-info"  # as pip would have installed it
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: ostinato-shelf\nVersion: 1\n")
    point = next(line for line in (SHELF / "pyproject.toml").read_text().splitlines() if line.startswith("shelf ="))
    (about / "entry_points.txt").write_text(f"[ostinato.backends]\n{point}\n".replace('"', ""))
    words = ["--ostinato-conformance", f"shelf:///{tmp_path}/{{name}}.json", "-q", "-p", "no:cacheprovider"]
    if not os.environ.get("OSTINATO_TEST_FULL"):
        words += SOME
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(SHELF)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
