"""Whether new code fits flows under way, asked before it is released."""

from __future__ import annotations

import flows
import pytest
from harness import WAIT, lines
from msgspec.structs import asdict
from s3_servers import wait_until

from ostinato import JobNotFound
from ostinato.storage import JobQuery
from ostinato.task import registry


@pytest.fixture
def code():
    def release(name):
        flows.CODE = name

    yield release
    flows.CODE = "old"


@pytest.fixture
def executor(make_executor, url):
    return make_executor(url, poll=30)


def under_way(executor, job, **options):
    """A flow that has come to its event, and waits there; its executor is stopped."""
    with executor:
        handle = executor.post(job, runner="thread", **options)
        wait_until(lambda: handle.status().state == "blocked" and handle.status().attempt == 2)
    return handle


def everything(executor, handle):
    """All that the store knows."""
    rows = {row.job.id: asdict(row) for row in executor._store.find(JobQuery(limit=1000)).rows}
    return rows, executor._store.attempts([handle.id])


@pytest.mark.parametrize(
    ("name", "verdict", "text"),
    [
        ("old", "fits", "waits for"),
        ("guarded", "fits", "waits for"),
        ("other", "changed", "step 'flows.double#1' is expected"),
        ("short", "changed", "it ends, but step 'flows.double#1' is expected"),
    ],
)
def test_old_and_new_code(executor, code, name, verdict, text):
    handle = under_way(executor, flows.changing.job())
    before = everything(executor, handle)
    code(name)
    (fit,) = executor.replay_check()
    assert (fit.id, fit.task, fit.verdict, fit.fits) == (handle.id, "flows.changing", verdict, verdict == "fits")
    assert text in fit.text
    assert everything(executor, handle) == before


def test_a_new_step_is_not_called(executor, code, ledger):
    handle = under_way(executor, flows.stepping.job(str(ledger)))
    before = everything(executor, handle)
    code("further")
    assert [one.verdict for one in executor.replay_check(handle.id)] == ["fits"]
    assert lines(ledger) == []
    assert everything(executor, handle) == before
    code("broken")
    (fit,) = executor.replay_check(handle.id)
    assert (fit.verdict, fit.fits, fit.text) == ("fails", False, "it ends with LookupError: 2")


def test_a_parked_flow_fits_again_once_its_code_is_mended(executor, code):
    handle = under_way(executor, flows.changing.job())
    code("other")
    executor.signal("go")
    with executor:
        wait_until(lambda: handle.status().state == "waiting")
    assert [one.verdict for one in executor.replay_check()] == ["changed"]
    code("old")
    (fit,) = executor.replay_check()
    assert (fit.verdict, fit.text) == ("fits", "it ends")


def test_what_is_not_under_way_or_unknown(executor, monkeypatch):
    with executor:
        done = executor.post(flows.uncaught.job("oh"), runner="thread")
        assert done.wait(WAIT)
    held = executor.post(flows.double.job(1), delay=60)
    executor.post(flows.sleeper.job(1), after=[held])
    assert executor.replay_check() == []
    (fit,) = executor.replay_check(done.id)
    assert fit.fits
    assert fit.text.startswith("it ends with JobFailed: Job")
    under = under_way(executor, flows.changing.job())
    monkeypatch.delitem(registry, "flows.changing")
    assert [(one.verdict, one.fits) for one in executor.replay_check(under.id)] == [("unknown", True)]
    with pytest.raises(JobNotFound):
        executor.replay_check("0" * 26)
