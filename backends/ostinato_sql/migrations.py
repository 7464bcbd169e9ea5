"""The versions of the schema, and how one becomes the next.

A new store is made as `ostinato_sql.tables` has it; an older one is brought there step by step.
A step, once released, is never changed.
"""

from __future__ import annotations

from sqlalchemy import bindparam, insert, inspect, select, update
from sqlalchemy.schema import CreateIndex, CreateTable

from ostinato.errors import StoreCorrupt
from ostinato_sql.dialect import Dialect
from ostinato_sql.link import Link
from ostinato_sql.statement import Statement
from ostinato_sql.tables import meta, metadata

STEPS: dict[int, tuple[str, ...]] = {
    1: (
        "ALTER TABLE ostinato_jobs ADD COLUMN uniqueness TEXT",
        'CREATE TABLE ostinato_holders ("key" VARCHAR(255) NOT NULL, job INTEGER NOT NULL, PRIMARY KEY ("key")) '
        "WITHOUT ROWID",
        "CREATE INDEX ostinato_holders_job ON ostinato_holders (job)",
    ),
}
"""By the version that they start from. Of version 1 there are SQLite files only."""
NEWEST = max(STEPS) + 1

_ADD_META = Statement(insert(meta), "name", "value")
_SET_META = Statement(
    update(meta).where(meta.c.name == bindparam("which")).values(value=bindparam("value_")), "value_", "which"
)
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


def script(dialect: Dialect, found: int | None) -> list[str]:
    """The statements that bring a store of this version to the newest."""
    if found is None:
        return [*dialect.before_tables(), *_creation(dialect)]
    return [dialect.naming.apply_bare(text) for at in range(found, NEWEST) for text in STEPS[at]]


def _creation(dialect: Dialect) -> list[str]:
    made = [table for table in metadata.sorted_tables if table is not meta]
    texts = list(dialect.own_tables)
    for table in (*made, meta):  # its presence says that all others are there
        texts.append(f"{str(CreateTable(table).compile(dialect=dialect.core)).strip()}{dialect.table_end}")
        texts += [
            str(CreateIndex(index).compile(dialect=dialect.core))
            for index in sorted(table.indexes, key=lambda index: str(index.name))
        ]
    return [dialect.naming.apply_bare(text) for text in texts]


def migrate(link: Link, dialect: Dialect) -> None:
    """Make the tables, or bring them to the newest version: whoever is first, under a lock."""
    dialect.lock_schema(link)
    found = version(link, dialect)
    if found == NEWEST:
        return
    for text in script(dialect, found):
        link.cursor.execute(text)
    if found is None:
        link.run(_ADD_META, "schema", str(NEWEST))
    else:
        link.run(_SET_META, str(NEWEST), "schema")


def check_allowed(dialect: Dialect, found: int | None) -> None:
    """Raises StoreCorrupt if the store has to be migrated first, by somebody else."""
    if dialect.migrates:
        return
    what = "holds no tables of Ostinato yet" if found is None else f"has schema version {found}"
    raise StoreCorrupt(
        f"The store at {dialect.place} {what}; this release needs version {NEWEST}, and the URL says migrate=off. "
        "Bring it there with: ostinato migrate URL"
    )
