"""The fixture of these tests."""

from terminal_harness import cli  # type: ignore[import-not-found]  # noqa: F401
