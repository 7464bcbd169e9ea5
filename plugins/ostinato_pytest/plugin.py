"""``pytest --ostinato-conformance URL``: run the conformance kit against a store.

Every pytest of an environment in which Ostinato is installed loads this module: it imports
nothing of Ostinato unless the option is given.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

OPTION = "--ostinato-conformance"
NAME = "{name}"
"""Stands in the URL for a word that keeps the data of one test from those of others."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("ostinato").addoption(
        OPTION,
        metavar="URL",
        help=f"Run Ostinato's conformance kit against the store of this URL. Write {NAME} where its data are named: "
        "each test gets a name of its own.",
    )


def pytest_configure(config: pytest.Config) -> None:
    url = config.getoption(OPTION)
    if url is None:
        return
    if NAME not in url:
        import pytest

        raise pytest.UsageError(
            f"{OPTION} needs {NAME} in the URL, so that each test begins with an empty store: 'sqlite:////tmp/{NAME}.db'"
        )
    spec = find_spec("ostinato.testing.kit")
    if spec is not None and spec.origin is not None and spec.origin not in config.args:
        given = config.args if config.args_source is config.ArgsSource.ARGS else []
        config.args = [*given, spec.origin]
