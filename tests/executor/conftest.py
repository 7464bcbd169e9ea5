"""The fixtures of these tests."""

from harness import clock, executor, fifo, host, ledger, make_executor, store, url  # noqa: F401
