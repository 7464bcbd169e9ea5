"""The fork server's own fork leaves out what mends threads, and nothing that a task could miss."""

from __future__ import annotations

import subprocess
import sys

import forked
import pytest
from harness import WAIT


def test_hooks_of_the_tasks_module_are_run(executor):
    for _ in range(2):
        assert executor.post(forked.hooks.job()).result(WAIT)[-4:] == [
            "second before",
            "first before",
            "first child",
            "last child",
        ]


def test_each_child_draws_other_random_numbers(executor):
    drawn = [handle.result(WAIT) for handle in executor.post([forked.draw.job() for _ in range(8)])]
    assert len(set(drawn)) == 8


def test_a_fork_inside_a_job_is_pythons_own(executor):
    handle = executor.post(forked.forks_itself.job())
    code, (threads, *calls) = handle.result(WAIT)
    assert (code, threads) == (7, "1")
    assert calls == ["second before", "first before", "first child", "last child"]
    assert "from the child of the job" in handle.logs()


def test_children_of_a_job_end_as_ever(executor):
    assert executor.post(forked.child_of_its_own.job()).result(WAIT) == (3, True)


SCRIPT = """
import os, sys, types
{before}
from ostinato.fork import Fork
real, forks = os.fork, []
os.fork = lambda: forks.append(1) or real()
fork = Fork()
pid = fork()
if not pid:
    os._exit(0)
os.waitpid(pid, 0)
print(len(forks))
"""


def forks_of_python(before: str) -> int:
    """How often `os.fork` was called for one fork."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(before=before)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_a_module_whose_hooks_are_unknown_makes_it_a_common_fork():
    assert forks_of_python("sys.modules['sitecustomize'] = types.ModuleType('sitecustomize')") == 1
    assert forks_of_python("") == (0 if sys.platform == "linux" else 1)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every fork is a common one")
def test_what_a_distribution_gives_to_every_python_makes_it_no_common_fork(tmp_path):
    take = f"sys.path.insert(0, {str(tmp_path)!r}); sys.modules.pop('sitecustomize', None); import sitecustomize"
    (tmp_path / "sitecustomize.py").write_text("try:\n    import apport_python_hook\nexcept ImportError:\n    pass\n")
    assert forks_of_python(take) == 0
    (tmp_path / "sitecustomize.py").write_text("import os\nos.register_at_fork(before=print)\n")
    assert forks_of_python(take) == 1
