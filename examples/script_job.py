"""A Python script and a command line as jobs.

    python examples/script_job.py

Each runs as a process of its own, with its own log, time limit and exit code.
"""

import tempfile
from pathlib import Path

from ostinato import Job, TaskExecutor

SCRIPT = """
import os, sys
print("rows in", sys.argv[1])
print("this is attempt", os.environ["OSTINATO_ATTEMPT"])
sys.exit(int(os.environ["OSTINATO_ATTEMPT"]) < 2)  # the first attempt fails
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "report.py")
        script.write_text(SCRIPT)
        executor = TaskExecutor(f"sqlite:///{folder}/jobs.db", slots=2)
        with executor:
            jobs = {
                "script": executor.post(Job.script(str(script), "june"), max_attempts=2, backoff=0.1, timeout=30),
                "command": executor.post(Job.command(["python3", "-c", "import sys; sys.exit(3)"]), timeout=30),
            }
            for name, job in jobs.items():
                job.wait(timeout=60)
                status = job.status()
                print(f"{name}: {status.state}, exit codes {[one.exit_code for one in status.attempts]}")
            print(jobs["script"].logs().splitlines()[0])
        executor.close()


if __name__ == "__main__":
    main()
