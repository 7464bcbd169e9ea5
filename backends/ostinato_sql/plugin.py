"""The backend's plugin: stores for ``sqlite:``, ``postgresql:`` and ``mysql:`` URLs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ostinato.errors import ConfigError
from ostinato.hooks import hookimpl
from ostinato.storage import Store
from ostinato_sql.address import check_options, options_of, parse_server, take_naming, take_seconds, take_switch
from ostinato_sql.dialect import Dialect
from ostinato_sql.sqlite import SYNCHRONOUS, SqliteDialect
from ostinato_sql.store import SqlStore


@hookimpl
def ostinato_store(url: str) -> Store | None:
    make = _MAKERS.get(url.partition(":")[0].partition("+")[0].lower())
    return None if make is None else SqlStore(make(url))


@hookimpl
def ostinato_test_store(url: str, clock: Callable[[], int]) -> Store | None:
    make = _MAKERS.get(url.partition(":")[0].partition("+")[0].lower())
    if make is None:
        return None
    dialect = make(url)
    dialect.clock = clock  # type: ignore[method-assign]  # to callers it is a call either way
    return SqlStore(dialect)


def _sqlite(url: str) -> Dialect:
    place, _, query = url.partition("?")
    if not place.startswith("sqlite:///") or place == "sqlite:///":
        raise ConfigError(
            f"{url!r} does not name a file. Write sqlite:///jobs.db for a file in the working folder "
            "or sqlite:////var/lib/app/jobs.db for an absolute path (three or four slashes)."
        )
    path = place.removeprefix("sqlite:///")
    if path.startswith(":memory:"):
        raise ConfigError(f"{url!r} would be gone with its connection. Write memory:// for jobs that need not last.")
    options = options_of(query)
    check_options(url, options, ("synchronous", "prefix", "migrate"))
    level = options.get("synchronous", "FULL").upper()
    if level not in SYNCHRONOUS:
        raise ConfigError(f"{url!r}: synchronous is {level!r}, but must be one of {', '.join(SYNCHRONOUS)}.")
    return SqliteDialect(path, level, naming=take_naming(options), migrates=take_switch(place, options, "migrate"))


def _postgresql(url: str) -> Dialect:
    address = parse_server(url, "postgresql://user:password@host:5432/database")
    try:
        import psycopg
    except ImportError:
        raise ConfigError(
            f"{address.place} needs the driver psycopg 3. Install it: pip install 'ostinato[postgres]'"
        ) from None
    from ostinato_sql.postgresql import PostgresDialect

    options = address.options
    names, migrates = take_naming(options), take_switch(address.place, options, "migrate")
    threshold = {"prepare_threshold": 5 if take_switch(address.place, options, "prepare") else None}
    known = [one.keyword.decode() for one in psycopg.pq.Conninfo.get_defaults()]
    check_options(address.place, options, ["schema", "prefix", "migrate", "prepare", *known])
    where = {"host": address.host, "port": address.port, "user": address.user, "password": address.password}
    settings = {**{name: value for name, value in where.items() if value}, "dbname": address.database, **options}
    return PostgresDialect(address.place, {**settings, **threshold}, naming=names, migrates=migrates)


def _mysql(url: str) -> Dialect:
    address = parse_server(url, "mysql://user:password@host:3306/database")
    try:
        from ostinato_sql.mysql import MysqlDialect
    except ImportError:
        raise ConfigError(
            f"{address.place} needs the driver PyMySQL. Install it: pip install 'ostinato[mysql]'"
        ) from None
    options = address.options
    check_options(address.place, options, ["prefix", "migrate", *_TLS, "unix_socket", "connect_timeout"])
    names, migrates = take_naming(options), take_switch(address.place, options, "migrate")
    settings: dict[str, Any] = {"host": address.host or "localhost", "user": address.user, "database": address.database}
    settings.update({"port": address.port or 3306, "password": address.password, **options})
    if "connect_timeout" in options:
        settings["connect_timeout"] = take_seconds(address.place, options, "connect_timeout")
    return MysqlDialect(address.place, settings, naming=names, migrates=migrates)


_TLS = ("ssl_ca", "ssl_cert", "ssl_key")
_MAKERS: dict[str, Callable[[str], Dialect]] = {
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "postgres": _postgresql,
    "mysql": _mysql,
    "mariadb": _mysql,
}
