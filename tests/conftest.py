"""Fixtures that all tests share."""

import os

import pytest
from mariadb_servers import mariadb  # noqa: F401
from postgres_servers import postgres16, postgres18  # noqa: F401
from redis_servers import admin, own_valkey, real_redis, valkey, valkey_cluster  # noqa: F401
from s3_servers import moto, rclone, s3_url  # noqa: F401
from stores import new_url  # noqa: F401

ONCE = (
    "backends",
    "chaos",
    "cli",
    "docs",
    "examples",
    "executor/test_busy_machine",
    "executor/test_capacities",
    "executor/test_copying",
    "executor/test_deadlines",
    "executor/test_due",
    "executor/test_explain",
    "executor/test_flow",
    "executor/test_growing",
    "executor/test_logs",
    "executor/test_order",
    "executor/test_replaycheck",
    "executor/test_reruns",
    "executor/test_rounds",
    "executor/test_schedule",
    "executor/test_story",
    "executor/test_stranded",
    "executor/test_ticker",
    "executor/test_uploader",
    "plugins/test_pytest_plugin",
    "plugins/test_s3",
    "proof",
    "test_wheel",
)
SERVERS = ("redis", "valkey", "postgres", "mysql", "mariadb", "moto", "rclone")
REQUIRE = "OSTINATO_TEST_REQUIRE"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs a server, or much time and no particular interpreter, is marked ``once``."""
    for item in items:
        place = item.nodeid.removeprefix("tests/")
        words = " ".join((place.lower(), *getattr(item, "fixturenames", ())))
        if place.startswith(ONCE) or any(name in words for name in SERVERS):
            item.add_marker("once")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Where everything can be had (CI sets ``OSTINATO_TEST_REQUIRE=all``), a skip is a failure."""
    report = (yield).get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get(REQUIRE) == "all":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, but {REQUIRE}=all: {report.longrepr}"
