"""The public names, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import ostinato

NAMES = """
AlreadyPosted ArgumentError Backoff Cancel ConfigError Event Interrupted Job JobCancelled JobEnded JobExpired JobFailed
JobNotFound Keep LogUnavailable OstinatoError PayloadError ResourceError Retry Snooze StoreUnavailable TaskError
TaskExecutor Unique current_job task
"""
DEAR = ("sqlalchemy", "structlog", "obstore", "rich", "click", "asyncio", "croniter", "pluggy", "psutil")


def test_the_public_names_are_these() -> None:
    assert sorted(ostinato.__all__) == sorted(NAMES.split())
    for name in ostinato.__all__:
        assert getattr(ostinato, name).__name__ == name


def test_importing_it_imports_nothing_dear() -> None:
    code = f"import sys, ostinato; print(*[name for name in {DEAR!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []


def test_an_executor_in_memory_imports_no_driver() -> None:
    code = (
        "import sys, ostinato; ostinato.TaskExecutor('memory://').close();"
        "print(*[name for name in ('sqlalchemy', 'obstore', 'rich', 'click', 'psutil') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []
