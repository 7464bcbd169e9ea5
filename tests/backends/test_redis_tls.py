"""Encrypted connections: the servers of the tests know none, so a proxy before one decrypts."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis_servers import make, new_namespace

from ostinato.errors import StoreUnavailable
from ostinato.testing.samples import job


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a key and a certificate for 127.0.0.1 that it has signed itself."""
    from cryptography import x509  # comes with moto
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(key.private_bytes(pem, *plain) + made.public_bytes(pem))
    return path


@pytest.fixture
def port(valkey: str, certificate: Path) -> Iterator[int]:
    """Of a proxy that speaks TLS and hands all to the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    plain_url = urlsplit(valkey)
    target = (plain_url.hostname or "localhost", plain_url.port or 6379)
    listening = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                plain, _ = listening.accept()
                one = context.wrap_socket(plain, server_side=True)
            except ssl.SSLError:
                plain.close()
                continue
            except OSError:
                return
            other = socket.create_connection(target)
            for source, sink in ((one, other), (other, one)):
                threading.Thread(target=carry, args=(source, sink), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield listening.getsockname()[1]
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(10)


def carry(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        for one in (source, sink):
            one.close()


def test_all_works_encrypted(port: int, certificate: Path) -> None:
    store = make(f"rediss://127.0.0.1:{port}/0?namespace={new_namespace()}&ssl_ca_certs={certificate}")
    store.open()
    listener = store.listen(frozenset(["ready"]))
    assert store.post([job("a")])[0].created
    assert listener.wait(20) == {"ready"}
    assert store.post([job(f"{n}", args="x" * 100_000) for n in range(5)])
    assert len(store.count()) == 1
    store.close()


def test_unknown_certificate_is_refused(port: int) -> None:
    with pytest.raises(StoreUnavailable, match="certificate verify failed"):
        make(f"rediss://127.0.0.1:{port}/0").open()
