"""Processes that work on one store beside the test: they say when they are there, and go when they are told.

A script begins by opening ``store``, and by putting what it was told besides into ``words``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

DRAIN = """
from ostinato.testing.samples import claim, end, jobs
print("here", flush=True)
sys.stdin.readline()
store.post(jobs(50, prefix=words[0]))
while rows := claim(store, words[0], count=7):
    assert all(store.finish([end(row) for row in rows]))
    print(*[row.job.id for row in rows], flush=True)
store.close()
"""
LISTEN = """
listener = store.listen(frozenset(words))
print("here", flush=True)
while heard := listener.wait(100):
    print(*heard, flush=True)
"""


@contextmanager
def process(script: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has said that it is here."""
    with _begun(script, words) as running:
        assert heard(running) == "here"
        yield running


@contextmanager
def _begun(script: str, words: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", script, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def heard(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    return running.stdout.readline().strip()


def all_together(script: str, *told: Sequence[str]) -> list[str]:
    """The lines that processes say, one for each sequence of words, that are let go at the same time."""
    with ExitStack() as stack:
        running = [stack.enter_context(_begun(script, words)) for words in told]
        for one in running:
            assert heard(one) == "here"
        for one in running:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        said = [line for one in running for line in one.communicate()[0].splitlines()]
        assert [one.returncode for one in running] == [0] * len(running)
    return said
