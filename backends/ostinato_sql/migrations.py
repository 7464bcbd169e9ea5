"""The versions of the schema, and how one becomes the next.

A new store is made as `ostinato_sql.tables` has it; an older one is brought there step by step.
A step, once released, is never changed.
"""

from __future__ import annotations

from sqlalchemy import Table, bindparam, inspect, select
from sqlalchemy.schema import CreateIndex, CreateTable

from ostinato.errors import StoreCorrupt
from ostinato_sql.dialect import Dialect
from ostinato_sql.link import Link
from ostinato_sql.statement import Statement
from ostinato_sql.tables import indexes_of, meta, metadata

STEPS: dict[int, tuple[str, ...]] = {
    1: (
        "ALTER TABLE ostinato_jobs ADD COLUMN uniqueness TEXT",
        'CREATE TABLE ostinato_holders ("key" VARCHAR(255) NOT NULL, job INTEGER NOT NULL, PRIMARY KEY ("key")) '
        "WITHOUT ROWID",
        "CREATE INDEX ostinato_holders_job ON ostinato_holders (job)",
        "ALTER TABLE ostinato_limits RENAME TO ostinato_limits1",
        "CREATE TABLE ostinato_limits (name VARCHAR(255) NOT NULL, capacity INTEGER, starts INTEGER, per INTEGER, "
        "PRIMARY KEY (name))",
        "INSERT INTO ostinato_limits (name, capacity) SELECT name, capacity FROM ostinato_limits1",
        "DROP TABLE ostinato_limits1",
        'CREATE TABLE ostinato_starts (name VARCHAR(255) NOT NULL, "at" INTEGER NOT NULL, jobs INTEGER NOT NULL, '
        'PRIMARY KEY (name, "at")) WITHOUT ROWID',
        "DROP TABLE ostinato_ticks",  # no release has made a tick
        "CREATE TABLE ostinato_ticks (schedule VARCHAR(255) NOT NULL, due INTEGER NOT NULL, PRIMARY KEY (schedule)) "
        "WITHOUT ROWID",
        "CREATE TABLE ostinato_entries (kind VARCHAR(64) NOT NULL, name VARCHAR(255) NOT NULL, value TEXT NOT NULL, "
        "version INTEGER NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID",
        "DELETE FROM ostinato_executors",  # who lives says so again, in the words of today
    ),
    2: (
        "ALTER TABLE ostinato_jobs ADD COLUMN {after} {long}",
        "ALTER TABLE ostinato_jobs ADD COLUMN flow {name}",
        "ALTER TABLE ostinato_jobs ADD COLUMN step {long}",
        "ALTER TABLE ostinato_jobs ADD COLUMN fallback {long}",
        "ALTER TABLE ostinato_jobs ADD COLUMN awaited {whole} DEFAULT '0' NOT NULL",
        "ALTER TABLE ostinato_jobs ADD COLUMN stepped {whole} DEFAULT '0' NOT NULL",
        "CREATE INDEX ostinato_flow ON ostinato_jobs (flow, seq){of_flows}",
        "{lapses_at}",
        "CREATE INDEX ostinato_lapsing ON ostinato_jobs {lapsing}",
        "CREATE TABLE ostinato_steps (job {whole} NOT NULL, name {name} NOT NULL, value {long} NOT NULL, "
        "PRIMARY KEY (job, name)){end}",
        "CREATE TABLE ostinato_waits (awaited {name} NOT NULL, job {whole} NOT NULL, token {whole} NOT NULL, "
        "place {whole} NOT NULL, failure VARCHAR(8) NOT NULL, first INTEGER NOT NULL, PRIMARY KEY (awaited, job)){end}",
        "CREATE INDEX ostinato_waits_job ON ostinato_waits (job, place)",
    ),
}
"""By the version that they start from. Of version 1 there are SQLite files only."""
_PARTIAL = {
    "after": '"after"',
    "of_flows": " WHERE flow IS NOT NULL",
    "lapses_at": "",
    "lapsing": "(expires_at) WHERE state = 'waiting' AND attempt = 0 AND expires_at IS NOT NULL",
}
_WORDS = {
    "sqlite": {**_PARTIAL, "name": "VARCHAR(255)", "long": "TEXT", "whole": "INTEGER", "end": " WITHOUT ROWID"},
    "postgresql": {**_PARTIAL, "name": "TEXT", "long": "TEXT", "whole": "BIGINT", "end": ""},
    "mysql": {
        "after": "`after`",
        "of_flows": "",
        "lapses_at": "ALTER TABLE ostinato_jobs ADD COLUMN lapses_at BIGINT GENERATED ALWAYS AS (CASE WHEN "
        "state = 'waiting' AND attempt = 0 THEN expires_at END) VIRTUAL",
        "lapsing": "(lapses_at)",
        "name": "VARCHAR(255)",
        "long": "LONGTEXT",
        "whole": "BIGINT",
    },
}
"""What each database calls it. As little to be changed as the steps."""
NEWEST = max(STEPS) + 1

_META = Statement(select(meta.c.value).where(meta.c.name == bindparam("wanted")), "wanted")


def version(link: Link, dialect: Dialect) -> int | None:
    """That of the store, None if there is none yet. Raises StoreCorrupt if this release cannot read it."""
    naming = dialect.naming
    if not inspect(link.core).has_table(naming.apply_bare(meta.name), schema=naming.schema or None):
        return None
    found = link.first(_META, "schema")
    if found is None:
        return None
    if not found[0].isdigit() or int(found[0]) > NEWEST:
        raise StoreCorrupt(
            f"The store at {dialect.place} has schema version {found[0]}, but this Ostinato "
            f"reads version {NEWEST}: it was written by a newer release. Upgrade with: pip install -U ostinato."
        )
    return int(found[0])


def statements(dialect: Dialect, found: int | None) -> list[str]:
    """What brings a store of this version to the newest."""
    if found is None:
        done = f"INSERT INTO ostinato_meta (name, value) VALUES ('schema', '{NEWEST}')"  # noqa: S608 - a number
        return [*_creation(dialect), dialect.naming.apply_bare(done)]
    words = {"end": dialect.table_end, **_WORDS[dialect.name]}
    written = [text.format_map(words) for at in range(found, NEWEST) for text in STEPS[at]]
    texts = [text for text in written if text]
    if texts:
        texts.append(f"UPDATE ostinato_meta SET value = '{NEWEST}' WHERE name = 'schema'")  # noqa: S608 - a number
    return [dialect.naming.apply_bare(text) for text in texts]


def _creation(dialect: Dialect) -> list[str]:
    made = [table for table in metadata.sorted_tables if table is not meta]
    texts = []
    for table in made:
        texts += _table(table, dialect)
    texts += [*dialect.own_tables, *_table(meta, dialect)]  # whose presence says that all others are there
    return [dialect.naming.apply_bare(text) for text in texts]


def _table(table: Table, dialect: Dialect) -> list[str]:
    written = str(CreateTable(table).compile(dialect=dialect.core)).strip() + dialect.table_end
    indexes = indexes_of(table, whole=not dialect.partial)
    return [written, *(str(CreateIndex(index).compile(dialect=dialect.core)) for index in indexes)]


def migrate(link: Link, dialect: Dialect) -> None:
    """Make the tables, or bring them to the newest version: whoever is first, under a lock."""
    dialect.lock_schema(link)
    for text in statements(dialect, version(link, dialect)):
        link.cursor.execute(text)


def check_allowed(dialect: Dialect, found: int | None) -> None:
    """Raises StoreCorrupt if the store has to be migrated first, by somebody else."""
    if dialect.migrates:
        return
    what = "holds no tables of Ostinato yet" if found is None else f"has schema version {found}"
    raise StoreCorrupt(
        f"The store at {dialect.place} {what}; this release needs version {NEWEST}, and the URL says migrate=off. "
        "Bring it there with: ostinato migrate URL"
    )
