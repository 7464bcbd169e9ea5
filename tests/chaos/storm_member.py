"""An executor in a storm: python storm_member.py URL FOLDER SLOTS LEASE. Notes all that it tells."""

import os
import signal
import sys

import storm_tasks  # noqa: F401 - its tasks are what this executor knows

from ostinato import TaskExecutor
from ostinato.testing.history import Log
from ostinato.testing.witnesses import listen

if __name__ == "__main__":
    url, folder, slots, lease = sys.argv[1:]
    places = {"log_store": f"{folder}/logs", "spool": f"{folder}/spool"}
    executor = TaskExecutor(url, slots=int(slots), lease=float(lease), queues=["storm"], poll=0.5, **places)
    listen(executor, Log(f"{folder}/executor-{os.getpid()}.jsonl"))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    executor.start()
    print(executor.id, flush=True)
    signal.sigwait({signal.SIGTERM})
    executor.stop(5)
    executor.close()
