"""A MariaDB server of this test process, from the machine's own package.

``OSTINATO_TEST_MYSQL_URL`` names a server (and a database of which all Ostinato's tables may be
emptied) to use instead.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from s3_servers import free_port, wait_until

URL = os.environ.get("OSTINATO_TEST_MYSQL_URL")
FAST = ("--innodb-flush-log-at-trx-commit=2", "--skip-log-bin", "--innodb-buffer-pool-size=32M")
MODEST = "--innodb-use-native-aio=0"  # of that a machine has little, and several servers may run side by side
_PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"])


class MariadbServer:
    """A server that can be killed and started again at the same address with the same data."""

    def __init__(self, daemon: str, install: str) -> None:
        self.port = 0
        self._daemon = daemon
        self._process: subprocess.Popen[bytes] | None = None
        self._data = tempfile.mkdtemp(prefix="ostinato-my-")
        self._as: dict[str, Any] = {"cwd": "/"}
        if os.geteuid() == 0:  # MariaDB does not run as root
            shutil.chown(self._data, "nobody")
            self._as["user"] = "nobody"
        made = subprocess.run(
            [install, "--no-defaults", f"--datadir={self._data}", "--auth-root-authentication-method=normal", MODEST],
            capture_output=True,
            text=True,
            check=False,
            **self._as,
        )
        assert made.returncode == 0, made.stderr

    @property
    def url(self) -> str:
        return f"mysql://root@127.0.0.1:{self.port}/test"

    def start(self) -> None:
        for port in [self.port] if self.port else [free_port() for _ in range(3)]:
            self.port = port
            place = [f"--datadir={self._data}", f"--socket={self._data}/s.sock", f"--port={port}"]
            self._process = subprocess.Popen(
                [self._daemon, "--no-defaults", *place, "--bind-address=127.0.0.1", MODEST, *FAST],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                **self._as,
            )
            wait_until(lambda: self._answers() or self._ended())
            if not self._ended():
                return
        raise AssertionError("MariaDB ends at once")

    def _answers(self) -> bool:
        """Asked at its own socket: at the port another server may answer, that was quicker."""
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(f"{self._data}/s.sock")
                greeted = probe.recv(1)
            connection = connected(self.url.rpartition("/")[0] + "/mysql") if greeted else None
        except OSError:
            return False
        if connection is None:
            return False
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE IF NOT EXISTS test")
        return True

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def stop(self) -> None:
        """At once, as in a crash: it recovers when it is started again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._data, ignore_errors=True)


def connected(url: str) -> Any:
    """Raises OSError."""
    from urllib.parse import urlsplit

    import pymysql

    parts = urlsplit(url)
    try:
        return pymysql.connect(
            host=parts.hostname or "localhost",
            port=parts.port or 3306,
            user=parts.username,
            password=parts.password or "",
            database=parts.path[1:],
            autocommit=True,
            ssl_disabled=True,
        )
    except pymysql.OperationalError as error:
        raise OSError(error) from None


@pytest.fixture(scope="session")
def mariadb() -> Iterator[str]:
    if URL is not None:
        yield URL
        return
    server = new_server()
    yield server.url
    server.remove()


def new_server() -> MariadbServer:
    """Started. Skips the test where there is none."""
    daemon, install = shutil.which("mariadbd", path=_PLACES), shutil.which("mariadb-install-db", path=_PLACES)
    if daemon is None or install is None:
        pytest.skip("MariaDB is not installed (apt-get install mariadb-server), and OSTINATO_TEST_MYSQL_URL is not set")
    server = MariadbServer(daemon, install)
    server.start()
    return server


def emptied(url: str) -> str:
    """All tables of Ostinato there hold nothing; those of new stores are made when they are opened."""
    with connected(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() "
            "AND table_name LIKE 'ostinato\\_%' AND table_name <> 'ostinato_meta'"
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f"DELETE FROM {name}")
    return url
