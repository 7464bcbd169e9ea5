"""Map and reduce: the words of many files are counted, one job a file, and folded by a flow.

python examples/wordcount.py [FOLDER] [--app]

Stop it in the middle and start it again: it goes on where it was. More processes that run this file with
``--app`` help with the same work.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from collections import Counter
from pathlib import Path
from typing import Any

from ostinato import TaskExecutor, task


@task(runner="pool")
def count(path: str) -> dict[str, int]:
    """The words of one file."""
    return Counter(re.findall(r"[a-z_]+", Path(path).read_text(errors="replace").lower()))


@task(runner="thread")
def count_all(paths: list[str]) -> Any:
    """The words of all of them."""
    total: Counter[str] = Counter()
    for counts in (yield [count.job(path) for path in paths]):
        total.update(counts)
    return dict(total.most_common())


def main() -> None:
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    folder = Path(words[0] if words else sysconfig.get_paths()["stdlib"])
    with TaskExecutor("sqlite:///wordcount.db") as executor:
        if "--app" in sys.argv:
            executor.wait()
            return
        paths = sorted(str(path) for path in folder.glob("*.py"))
        handle = executor.post(count_all.job(paths), unique=f"words of {folder}")
        total = handle.result()
        print(f"{len(paths)} files, {sum(total.values())} words, most of all {next(iter(total))!r}")


if __name__ == "__main__":
    main()
