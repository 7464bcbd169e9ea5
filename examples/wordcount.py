"""Map and reduce: the words of many files are counted, a job a file, and a flow adds up the counts.

    python examples/wordcount.py [FOLDER]

While the flow waits for its files it takes no room. Kill this while it counts and start it again: what
has been counted is kept.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Generator
from pathlib import Path

from ostinato import Job, TaskExecutor, flow, task


def sources(folder: str) -> list[str]:
    return sorted(str(path) for path in Path(folder).rglob("*.py"))


@task(timeout=60, max_attempts=2)
def count(path: str) -> dict[str, int]:
    """How often each word is in the file."""
    return Counter(re.findall(r"[a-z]+", Path(path).read_text(errors="replace").lower()))


@task
def total(folder: str) -> Generator[list[Job], list[dict[str, int]], dict[str, int]]:
    """What all files of the folder come to. The list of them is a step, for it must stay the same."""
    paths = flow.step("list", sources, folder)
    counts = yield [count.job(path) for path in paths]
    words: Counter[str] = Counter()
    for one in counts:
        words.update(one)
    return words


def main(folder: str) -> None:
    executor = TaskExecutor("sqlite:///wordcount.db")
    with executor:
        words = executor.post(total.job(folder), unique=f"words of {folder}").result(timeout=100)
        files = sum(1 for _ in executor.jobs(task=count.name, state="succeeded"))
    executor.close()
    top = sorted(words, key=lambda word: (-words[word], word))[:3]
    print(f"{sum(words.values())} words, {len(words)} of them different, in {files} files")
    for word in top:
        print(f"{words[word]:>6} {word}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else str(Path(json.__file__).parent))
