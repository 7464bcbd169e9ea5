"""Fixtures that all tests share."""

import os

import pytest
from mariadb_servers import mariadb  # noqa: F401
from postgres_servers import postgres16, postgres18  # noqa: F401
from redis_servers import real_redis, valkey, valkey_cluster  # noqa: F401
from s3_servers import moto, rclone, s3_url  # noqa: F401

REQUIRE = "OSTINATO_TEST_REQUIRE"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Where everything can be had (CI sets ``OSTINATO_TEST_REQUIRE=all``), a skip is a failure."""
    report = (yield).get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get(REQUIRE) == "all":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, but {REQUIRE}=all: {report.longrepr}"
