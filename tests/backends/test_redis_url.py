"""URLs of the Redis store: what they name, and what a wrong one is answered."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ostinato.errors import ConfigError
from ostinato_redis.address import address
from ostinato_redis.plugin import ostinato_store
from ostinato_redis.store import RedisStore


def test_other_schemes_are_not_ours() -> None:
    assert ostinato_store("sqlite:///jobs.db") is None


@pytest.mark.parametrize(
    ("url", "nodes", "db"),
    [
        ("redis://localhost", (("localhost", 6379),), 0),
        ("redis://cache.example:7000/3", (("cache.example", 7000),), 3),
        ("valkey://[::1]:6380/0", (("::1", 6380),), 0),
        ("redis+cluster://a:1,b:2/", (("a", 1), ("b", 2)), 0),
        ("valkey+cluster://a", (("a", 6379),), 0),
    ],
)
def test_network(url: str, nodes: tuple[tuple[str, int], ...], db: int) -> None:
    found = address(url)
    assert (found.nodes, found.db, found.cluster, found.tls) == (nodes, db, "cluster" in url, False)
    assert isinstance(ostinato_store(url), RedisStore)


@pytest.mark.parametrize("url", ["unix:///run/my%20redis.sock?db=2", "redis+unix:///run/my%20redis.sock?db=2"])
def test_socket(url: str) -> None:
    assert (address(url).socket, address(url).db, address(url).nodes) == ("/run/my redis.sock", 2, ())


def test_encrypted() -> None:
    found = address("rediss://host?ssl_ca_certs=/etc/ca.pem")
    assert (found.tls, found.certificates) == (True, (("ssl_ca_certs", "/etc/ca.pem"),))
    with pytest.raises(ConfigError, match="rediss://"):
        address("redis://host?ssl_ca_certs=/etc/ca.pem")


def test_credentials_are_decoded_and_never_shown() -> None:
    found = address("redis://some%40body:s%3Acret%2F@host:1/2?namespace=shop")
    assert (found.username, found.password, found.place) == ("some@body", "s:cret/", "redis://host:1/2")
    assert address("redis://:secret@host").password == "secret"
    for wrong in ("redis://u:secret@host?what=1", "redis://u:secret@host:port", "redis://u:secret@"):
        with pytest.raises(ConfigError) as caught:
            address(wrong)
        assert "secret" not in str(caught.value)


def test_options() -> None:
    assert address("redis://host").own == "{ostinato}"
    found = address("redis://host?namespace=shop.eu&durability=aof&timeout=2.5")
    assert (found.own, found.aof, found.timeout) == ("{shop.eu}", True, 2.5)


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("redis://", "redis://localhost:6379/0"),
        ("redis:host", "redis://localhost:6379/0"),
        ("redis+sentinel://host", "redis://localhost:6379/0"),
        ("redis://host:port", "is no host and port"),
        ("redis://host/first", "whole number"),
        ("redis://a,b", r"redis\+cluster://"),
        ("redis+cluster://a/1", "namespace=NAME"),
        ("unix://redis.sock", "absolute path"),
        ("redis://host?namespce=x", "Did you mean 'namespace'"),
        ("redis://host?xyz=1", "Known options: namespace"),
        ("redis://host?namespace=a%7Db", "namespace=shop"),
        ("redis://host?namespace=", "namespace=shop"),
        ("redis://host?durability=always", "'aof'"),
        ("redis://host?timeout=soon", "number of seconds"),
        ("redis://host?timeout=0", "number of seconds"),
    ],
)
def test_wrong_url_is_told_the_right_one(url: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        ostinato_store(url)


def test_missing_driver_is_told_how_to_install() -> None:
    code = "import sys; sys.modules['redis'] = None\nfrom ostinato_redis.plugin import ostinato_store\n"
    code += (
        "try: ostinato_store('redis://u:secret@host')\nexcept Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ConfigError")
    assert "pip install 'ostinato[redis]'" in done.stdout
    assert "secret" not in done.stdout
