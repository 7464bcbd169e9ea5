"""What ``pytest --ostinato-conformance URL`` runs: all cases, the state machine and the crash sweep."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import settings

from ostinato.plugins import open_test_store
from ostinato.storage import Store
from ostinato.testing.checker import report
from ostinato.testing.conformance import MakeStore, StoreConformance
from ostinato.testing.crashes import sweep
from ostinato.testing.machine import StoreMachine
from ostinato.testing.scenarios import SCENARIOS


def named(url: str) -> str:
    """The URL of a store that nobody else uses."""
    return url.replace("{name}", f"t{uuid.uuid4().hex[:12]}")


@pytest.fixture(scope="session")
def template(request: pytest.FixtureRequest) -> str:
    return str(request.config.getoption("--ostinato-conformance"))


class TestStore(StoreConformance):
    @pytest.fixture
    def make_store(self, template: str) -> MakeStore:
        url = named(template)
        return lambda *, clock: open_test_store(url, clock)


class KitMachine(StoreMachine):
    url: ClassVar[str] = ""

    def make_store(self, clock: Callable[[], int]) -> Store:
        return open_test_store(named(self.url), clock)


class TestMachine(KitMachine.TestCase):  # type: ignore[misc, valid-type]  # made by Hypothesis
    settings = settings(max_examples=20, stateful_step_count=30, deadline=None)

    @pytest.fixture(autouse=True)
    def _url(self, template: str) -> None:
        KitMachine.url = template


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_crash_at_any_call_of_the_store_breaks_no_promise(template: str, tmp_path: Path, scenario: str) -> None:
    if template.startswith("memory:"):
        pytest.skip("a store in memory dies with its process, and its jobs with it")
    for point in sweep(
        template.replace("{name}", f"t{uuid.uuid4().hex[:8]}{{name}}"), tmp_path, step=4, scenario=scenario
    ):
        assert not point.violations, f"{point.side} call {point.number} ({point.verb}): {report(point.violations)}"
