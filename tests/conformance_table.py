"""Writes the page of conformance from a run of the kit on all stores:

OSTINATO_TEST_ALL_SERVERS=1 pytest tests/backends --junitxml=run.xml
python tests/conformance_table.py run.xml > docs/reference/conformance.md
"""

from __future__ import annotations

import sys
from collections import Counter
from xml.etree import ElementTree

from ostinato.testing.conformance import StoreConformance

STORES = {
    "TestMemory": "memory",
    "TestSqlite": "SQLite",
    "TestPostgres16": "PostgreSQL 16",
    "TestPostgres18": "PostgreSQL 18",
    "TestMariadb": "MariaDB",
    "TestRedis": "Redis",
    "TestValkey": "Valkey",
    "TestValkeyCluster": "Valkey Cluster",
}
"""By the class that runs the kit on it."""
HEAD = """# Conformance

Every store passes the same cases, which are the promises of `ostinato.storage` written as tests. This page is
written from a run of them: `tests/conformance_table.py` says how. A cell is the number of cases that passed; one that
failed would be told beside it.
"""


def main(path: str) -> None:
    groups = {name: group.__name__ for group in StoreConformance.__mro__[1:] for name in vars(group)}
    passed: Counter[tuple[str, str]] = Counter()
    failed: Counter[tuple[str, str]] = Counter()
    for case in ElementTree.parse(path).iter("testcase"):
        store = STORES.get(case.get("classname", "").rpartition(".")[2])
        group = groups.get(case.get("name", "").partition("[")[0])
        if store is None or group is None:
            continue
        bad = case.find("failure") is not None or case.find("error") is not None or case.find("skipped") is not None
        (failed if bad else passed)[group, store] += 1
    stores = [store for store in STORES.values() if any(at[1] == store for at in passed)]
    print(HEAD)
    print("| cases |", " | ".join(stores), "|")
    print("|---|" + "--:|" * len(stores))
    for group in sorted({group for group, _ in passed}):
        print(
            f"| {group.removesuffix('Cases').lower()} |",
            " | ".join(_cell(passed, failed, group, one) for one in stores),
            "|",
        )
    total = [str(sum(count for (_, store), count in passed.items() if store == one)) for one in stores]
    print("| **all** |", " | ".join(f"**{number}**" for number in total), "|")


def _cell(passed: Counter[tuple[str, str]], failed: Counter[tuple[str, str]], group: str, store: str) -> str:
    bad = failed[group, store]
    return f"{passed[group, store]}" + (f" ({bad} failed)" if bad else "")


if __name__ == "__main__":
    main(sys.argv[1])
