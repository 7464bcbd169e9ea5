"""Stores behind a bad network: delayed, cut in the middle of requests, answers that never arrive."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from proof_tasks import effective
from s3_servers import wait_until
from stores import SERVERS, Place, on_every_store

from ostinato import TaskExecutor
from ostinato.errors import StoreError
from ostinato.model import FINAL, SECOND
from ostinato.plugins import open_store
from ostinato.storage import Store
from ostinato.testing.checker import check, report, summary
from ostinato.testing.faulty_network import Proxy
from ostinato.testing.history import Facts, Log, read
from ostinato.testing.witnesses import Client, keep, listen, still_registered

LEASE = 2.0
PATIENCE = 30.0


def slow(proxy: Proxy) -> None:
    proxy.delay = 0.02


def swallowing(proxy: Proxy) -> None:
    proxy.swallow = True


def torn(proxy: Proxy) -> None:
    proxy.cut_after = 5000


def away(proxy: Proxy) -> None:
    proxy.away = True
    proxy.cut()


FAULTS: tuple[Callable[[Proxy], None], ...] = (slow, swallowing, torn, away)


@on_every_store(*SERVERS)
def test_a_bad_network_breaks_no_promise(place: Place, tmp_path: Path) -> None:
    name = "network"
    log = Log(tmp_path / "here.jsonl")
    ledger = str(tmp_path / "effects.jsonl")
    store = open_store(place.named(name))
    store.open()
    with Proxy("127.0.0.1", place.port) as proxy:
        places = {"log_store": f"{tmp_path}/logs", "spool": f"{tmp_path}/spool"}
        executor = TaskExecutor(place.through(proxy.port).named(name), slots=4, lease=LEASE, poll=0.3, **places)
        listen(executor, log)
        executor.start()
        client = Client(executor, log)
        for fault in FAULTS:
            insist(lambda: client.post([effective.job(ledger, number) for number in range(10)]))
            seen = proxy.faults
            fault(proxy)
            post_anyhow(client, ledger)
            if fault is not slow:
                wait_until(lambda seen=seen: proxy.faults > seen + 2, PATIENCE)
            proxy.calm()
        wait_until(lambda: drained(store), PATIENCE)
        executor.stop()
        executor.close()
    keep(store, log)
    log.write(Facts(lease=round(LEASE * SECOND), slots=4, left=tuple(still_registered(store))))
    store.close()
    history = read(tmp_path)
    print(summary(history))
    violations = check(history)
    assert not violations, report(violations)
    assert any(call.outcome == "unknown" for call in history.calls)


def post_anyhow(client: Client, ledger: str) -> None:
    """As an application that gives up at the first error: nobody knows then what is stored."""
    for number in range(3):
        try:
            client.post([effective.job(ledger, number)])
        except StoreError:
            continue


def insist(call: Callable[[], object]) -> None:
    while True:
        try:
            call()
            return
        except StoreError:
            threading.Event().wait(0.05)


def drained(store: Store) -> bool:
    return all(one.state in FINAL for one in store.count())


# the proxy itself


@pytest.fixture
def echo():
    """A server that answers every chunk with itself, and what it has got so far."""
    got: list[bytes] = []
    door = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                line, _ = door.accept()
            except OSError:
                return
            with line:
                while data := line.recv(100):
                    got.append(data)
                    line.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    yield door.getsockname()[1], got
    door.shutdown(socket.SHUT_RDWR)
    door.close()


def test_the_proxy_passes_on_what_is_said(echo):
    port, _ = echo
    with Proxy("127.0.0.1", port) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as line:
        line.sendall(b"hello")
        assert line.recv(100) == b"hello"
        assert proxy.faults == 0


def test_the_proxy_swallows_answers_but_not_requests(echo):
    port, got = echo
    with Proxy("127.0.0.1", port) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as line:
        proxy.swallow = True
        line.sendall(b"hello")
        assert line.recv(100) == b""
        assert got == [b"hello"]


def test_the_proxy_cuts_in_the_middle_of_a_request(echo):
    port, got = echo
    with Proxy("127.0.0.1", port) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as line:
        proxy.cut_after = 3
        line.sendall(b"hello")
        assert line.recv(100) in (b"", b"hel")
        wait_until(lambda: got == [b"hel"])


def test_nobody_answers_while_the_proxy_is_away(echo):
    port, got = echo
    with Proxy("127.0.0.1", port) as proxy:
        proxy.away = True
        with socket.create_connection(("127.0.0.1", proxy.port)) as line:
            assert line.recv(100) == b""
    assert got == []
