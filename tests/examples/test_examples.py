"""Each example runs as its user would run it: as a process, from another folder."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(name: str, folder: Path, *words: str) -> list[str]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OSTINATO_")}
    environ["PYTHONWARNINGS"] = "error"
    argv = [sys.executable, str(EXAMPLES / name), *words]
    done = subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_web_application_posts_and_shows(tmp_path: Path) -> None:
    assert run("web_app.py", tmp_path, "--check") == [
        "succeeded {'to': 2, 'be': 2, 'or': 1, 'not': 1}",
        "404 There is no job 'nothing'",
    ]


def test_a_script_and_a_command_run(tmp_path: Path) -> None:
    assert run("script_job.py", tmp_path) == [
        "script: succeeded, exit codes [1, 0]",
        "command: failed, exit codes [3]",
        "rows in june",
    ]


def test_the_picture_is_whole(tmp_path: Path) -> None:
    assert run("mandelbrot.py", tmp_path, "set.png") == ["set.png: 192 x 128 pixels in 8 jobs"]
    picture = (tmp_path / "set.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    start = picture.index(b"IDAT") + 4
    lines = zlib.decompress(picture[start : picture.index(b"IEND") - 8])
    assert len(lines) == 128 * 193
    assert lines[64 * 193 + 1 + 120] == 0  # inside of the set
    assert lines[1] > 200  # far outside


def test_the_words_of_many_files_are_counted(tmp_path: Path) -> None:
    folder = Path(logging.__file__).parent
    files = sorted(folder.rglob("*.py"))
    words = Counter(re.findall(r"[a-z]+", "".join(file.read_text() for file in files).lower()))
    top = sorted(words, key=lambda word: (-words[word], word))[:3]
    assert run("wordcount.py", tmp_path, str(folder)) == [
        f"{sum(words.values())} words, {len(words)} of them different, in {len(files)} files",
        *(f"{words[word]:>6} {word}" for word in top),
    ]


def test_every_example_is_run() -> None:
    text = Path(__file__).read_text()
    assert all(f'"{file.name}"' in text for file in EXAMPLES.glob("*.py"))
