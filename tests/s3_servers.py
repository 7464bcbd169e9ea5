"""S3 servers from PyPI, one of a kind per test process, on a free port of the loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

KEY, SECRET, BUCKET = "testkey", "testsecret", "logs"


def wait_until(holds: Callable[[], object], timeout: float = 20.0) -> None:
    """Wait for a condition that sends no signal."""
    never, end = threading.Event(), time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < end, "did not happen in time"
        never.wait(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server that can be killed and started again at the same address with the same data."""

    def __init__(self, command: Callable[[int], list[str]]) -> None:
        self._command = command
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """The first time on a free port: again on another if somebody else was quicker to take it."""
        for port in [self.port] if self.port else [free_port() for _ in range(3)]:
            self.port = port
            self._process = subprocess.Popen(
                self._command(self.port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            wait_until(lambda: self._answers() or self._ended())
            if not self._ended():
                return
        raise AssertionError(f"ends at once: {self._command(self.port)}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None


def script(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip(f"{name} is not installed; it comes with the extra 'test'")
    return found


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """``rclone serve s3``: checks signatures strictly."""
    root = tmp_path_factory.mktemp("rclone")
    (root / BUCKET).mkdir()
    program = script("rclone")
    options = ["--auth-key", f"{KEY},{SECRET}", "--config", "", str(root)]
    server = Server(lambda port: [program, "serve", "s3", "--addr", f"127.0.0.1:{port}", *options])
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def moto() -> Iterator[Server]:
    """moto's server: another implementation, so that we lean on the peculiarities of neither."""
    server = Server(lambda port: [script("moto_server"), "-H", "127.0.0.1", "-p", str(port)])
    server.start()
    _create_bucket(server.endpoint)
    yield server
    server.stop()


def _create_bucket(endpoint: str) -> None:
    import urllib.request

    request = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")
    request.add_header("Authorization", f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3/aws4_request")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200


@pytest.fixture(params=["rclone", "moto"])
def s3_url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a log store on each server in turn; credentials are in the environment."""
    server: Server = request.getfixturevalue(request.param)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return f"s3://{BUCKET}/some/where?endpoint={server.endpoint}&region=us-east-1"
