"""``ostinato demo``: the promise of the library, to watch."""

from __future__ import annotations

import os
import signal
import sys
import sysconfig
import tempfile
from collections.abc import Iterator

import click
from msgspec.structs import asdict

from ostinato.cli.exits import FAILED, OK
from ostinato.cli.terminal import print_json
from ostinato.errors import ConfigError

SKIPPED = frozenset({"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__"})


@click.command()
@click.argument("folder", required=False)
@click.option("--limit", default=600, show_default=True, type=click.IntRange(1), help="At most so many files.")
@click.option("--keep", metavar="DIR", help="Put the store and the logs into this new folder.")
@click.option("--slots", default=2, show_default=True, type=click.IntRange(1, 64), help="Of each executor.")
@click.option("--json", "as_json", is_flag=True, help="Print only the final numbers.")
def command(folder: str | None, limit: int, keep: str | None, slots: int, as_json: bool) -> int:
    """Watch real jobs survive the death of an executor.

    Two executors run them, one is killed half-way, a third takes its place, and all is counted.
    Each Python file of FOLDER (default: Python's standard library) becomes a job that parses,
    compresses and hashes it, in a process of its own. The store is a SQLite file.
    """
    files = _files(folder, limit)
    home = _home(keep)
    url = f"sqlite:///{os.path.join(home, 'demo.db')}"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the executors are ended too
    from ostinato.cli.demo_view import View
    from ostinato.cli.failover import Failover
    from ostinato.plugins import open_store

    store = open_store(url)
    store.open()
    failover = Failover(store, url, home, files, slots)
    with View(url, quiet=as_json) as view:
        try:
            for moment in failover.play():
                view.show(moment)
        finally:
            failover.close()
        summary = failover.check(os.path.join(home, "demo.logs"))
    store.close()
    if as_json:
        print_json({**asdict(summary), "ok": summary.ok})
    else:
        view.conclude(summary, home)
    return OK if summary.ok else FAILED


def _files(folder: str | None, limit: int) -> list[str]:
    """The files of the folder itself first, then those of its packages, alphabetically."""
    root = os.path.abspath(folder or sysconfig.get_path("stdlib"))
    if not os.path.isdir(root):
        raise ConfigError(f"There is no folder {folder}. Give one with Python files, or none for the standard library.")
    files = list(_python_files(root))[:limit]
    if not files:
        raise ConfigError(f"There are no Python files in {root}. Give another folder, or none.")
    return files


def _python_files(root: str) -> Iterator[str]:
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if name not in SKIPPED and not name.startswith((".", "config-")))
        yield from (os.path.join(folder, name) for name in sorted(names) if name.endswith(".py"))


def _home(keep: str | None) -> str:
    if keep is None:
        return tempfile.mkdtemp(prefix="ostinato-demo-")
    home = os.path.abspath(keep)
    if os.path.exists(os.path.join(home, "demo.db")):
        raise ConfigError(f"There is a demo in {home} already. Give a new folder: --keep DIR.")
    os.makedirs(home, exist_ok=True)
    return home
