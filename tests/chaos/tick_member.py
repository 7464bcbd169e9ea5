"""Several executors in one process: python tick_member.py URL FOLDER COUNT. Each keeps the schedules by itself."""

import signal
import sys

import tick_tasks  # noqa: F401 - its task is what the schedule posts

from ostinato import TaskExecutor

if __name__ == "__main__":
    url, folder, count = sys.argv[1:]
    places = {"log_store": f"{folder}/logs", "spool": f"{folder}/spool"}
    executors = [TaskExecutor(url, slots=2, lease=4, queues=["ticks"], **places) for _ in range(int(count))]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    for executor in executors:
        executor.start()
    print(executors[0].id, flush=True)
    signal.sigwait({signal.SIGTERM})
    for executor in executors:
        executor.stop(5)
        executor.close()
