"""The command line as people use it: real processes on a real SQLite file, one per test."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ostinato.cli.main import run

APP = """
from ostinato import Interrupted, TaskExecutor, current_job, task

@task
def add(a: int, b: int = 1) -> int:
    print("adding", a, b)
    return a + b

@task(queue="mail", max_attempts=2)
def greet(name: str, times: int = 1) -> str:
    return " ".join([f"hello {name}"] * times)

@task
def fail() -> None:
    raise ValueError("no such luck")

@task
def hold(fifo: str) -> str:
    # runs until somebody writes into the FIFO
    print("holding")
    current_job().progress(1, 2, "half-way")
    with open(fifo) as file:
        said = file.read()
    print("let go", said)
    return said

@task
def stubborn(fifo: str) -> None:
    while True:
        try:
            open(fifo).read()
        except Interrupted:
            print("I stay")

executor = TaskExecutor("sqlite:///jobs.db", slots=3, queues=["*"], name="of-the-app")
"""


class Done(NamedTuple):
    code: int
    stdout: str
    stderr: str


class Cli:
    """Runs ``ostinato`` in a folder with an ``app.py``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("OSTINATO_")}
        for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
            self.environ.pop(name, None)
        self.environ["OSTINATO_URL"] = "sqlite:///jobs.db"

    def run(self, *words: str, code: int = 0) -> Done:
        """Run it to its end and check the exit code; errors must never be tracebacks.

        Verbs that only look or ask run in this process, which is much faster: so all that is
        common to them (the entry point, a terminal, a pipe) has tests of its own.
        """
        apart = not words or words[0] in ("work", "demo", "replay-check", "--version") or "--app" in words
        done = (self._run_apart if apart else self._run_here)(words)
        assert done.code == code, (words, done)
        assert "Traceback" not in done.stderr or "no such luck" in done.stderr, done.stderr
        return done

    def _run_apart(self, words: tuple[str, ...]) -> Done:
        done = subprocess.run(
            self.argv(*words), cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=60
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def _run_here(self, words: tuple[str, ...]) -> Done:
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with redirect_stdout(out), redirect_stderr(err):
            code = run(words)
        return Done(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))  # type: ignore[attr-defined]

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self.run(*words, "--json", code=code).stdout)

    def post(self, *words: str) -> str:
        return self.run("post", *words).stdout.strip()

    def drain(self) -> None:
        """Run all there is."""
        self.run("work", "app", "--queues", "*", "--until-idle")

    def fifo(self) -> Path:
        path = self.folder / "fifo"
        os.mkfifo(path)
        return path

    @staticmethod
    def argv(*words: str) -> list[str]:
        return [sys.executable, "-m", "ostinato", *words]

    @contextmanager
    def started(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            self.argv(*words), cwd=self.folder, env=self.environ, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    @contextmanager
    def working(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A running executor."""
        with self.started("work", *(words or ("app", "--queues", "*"))) as process:
            read_until(process, "works on")
            yield process


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """The first line of its output that has the text."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if text in line:
            return line
    raise AssertionError(f"{text!r} was never said: {seen}")


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    (tmp_path / "app.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    made = Cli(tmp_path)
    for name in os.environ.keys() - made.environ.keys():
        monkeypatch.delenv(name)
    for name in made.environ.keys() - os.environ.keys():
        monkeypatch.setenv(name, made.environ[name])
    return made
