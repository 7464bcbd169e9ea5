"""The conformance kit: what every storage backend must pass.

A backend is tested by one small class that says how to open a store::

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def make_store(self, tmp_path):
            return lambda clock: MyStore(tmp_path / "jobs", clock=clock)

``make_store(clock=...)`` makes a further store object, not yet opened, on the same data at
each call within one test (and may return the same object where data cannot be shared). The
clock is called for the time in microseconds; the tests move it, none of them sleeps.
"""

from __future__ import annotations

from ostinato.testing.cases.capacity import CapacityCases
from ostinato.testing.cases.changing import ChangingCases
from ostinato.testing.cases.claiming import ClaimingCases
from ostinato.testing.cases.depending import DependingCases
from ostinato.testing.cases.fidelity import FidelityCases
from ostinato.testing.cases.finding import FindingCases
from ostinato.testing.cases.finishing import FinishingCases
from ostinato.testing.cases.flowing import FlowingCases
from ostinato.testing.cases.keeping import KeepingCases
from ostinato.testing.cases.listening import ListeningCases
from ostinato.testing.cases.loading import LoadingCases
from ostinato.testing.cases.posting import PostingCases
from ostinato.testing.cases.renewing import RenewingCases
from ostinato.testing.cases.rescuing import RescuingCases
from ostinato.testing.cases.timing import TimingCases
from ostinato.testing.cases.unique import UniqueCases
from ostinato.testing.setting import MakeStore

__all__ = ["MakeStore", "StoreConformance"]


class StoreConformance(
    PostingCases,
    UniqueCases,
    LoadingCases,
    KeepingCases,
    ClaimingCases,
    TimingCases,
    CapacityCases,
    RenewingCases,
    FinishingCases,
    RescuingCases,
    ChangingCases,
    DependingCases,
    FlowingCases,
    FindingCases,
    ListeningCases,
    FidelityCases,
):
    """All cases, sorted by verb; see the classes they come from."""
