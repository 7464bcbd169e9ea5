"""The fixtures of these tests."""

from harness import executor, fifo, host, ledger, make_executor, url  # noqa: F401
