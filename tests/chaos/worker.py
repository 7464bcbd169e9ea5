"""An executor as a process of its own: python worker.py URL. Says its children's parent first."""

import signal
import sys

import chaos_tasks  # noqa: F401 - its tasks are what this executor knows
import flow_tasks  # noqa: F401
import word_tasks  # noqa: F401

from ostinato import TaskExecutor

if __name__ == "__main__":
    executor = TaskExecutor(sys.argv[1], slots=2, queues=["chaos"])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    executor.start()
    print(executor.id, flush=True)
    signal.sigwait({signal.SIGTERM})
    executor.stop(5)
