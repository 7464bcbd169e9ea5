"""Every snippet of the documentation runs, and prints what the page says it prints.

The blocks of a page are run in their order in one folder:

    ```python          a whole script, run
    ```python NAME.py  a file; run too if its output follows, or if no console block mentions it
    ```toml NAME       a file
    ```text            after a script: what it prints
    ```console         lines after ``$`` are run by bash, the others are what they print

Output is compared with numbers, times and ids made equal; ``...`` stands for anything.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import PAGES, ROOT, Block, blocks

LANGUAGES = {"python", "text", "console", "toml", "sh", "json"}
WITH_CODE = [page for page in PAGES if any(block.language in ("python", "console") for block in blocks(page))]
PATIENCE = 100


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_what_it_is(page: Path) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{name_of(page)}:{block.line}: what is {block.language!r}?"


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_the_snippets_of_a_page_run(page: Path, tmp_path: Path) -> None:
    found = blocks(page)
    typed = "\n".join(block.text for block in found if block.language == "console")
    for at, block in enumerate(found):
        where = f"{name_of(page)}:{block.line}"
        if block.language == "toml" and block.name:
            (tmp_path / block.name).write_text(block.text)
        elif block.language == "python":
            file = tmp_path / (block.name or f"snippet_{block.line}.py")
            file.write_text(block.text)
            after = found[at + 1] if at + 1 < len(found) and found[at + 1].language == "text" else None
            if after is None and block.name and re.search(rf"\b{file.stem}\b", typed):
                continue
            said = run([sys.executable, file.name], tmp_path, where)
            if after is not None:
                compare(after.text, said, where)
        elif block.language == "console":
            said = run(["bash", "-e", "-c", commands(block)], tmp_path, where)
            compare(shown(block), said, where)


def commands(block: Block) -> str:
    return "\n".join(line[2:] for line in block.text.splitlines() if line.startswith(("$ ", "> ")))


def shown(block: Block) -> str:
    return "\n".join(line for line in block.text.splitlines() if not line.startswith(("$ ", "> "))) + "\n"


def run(argv: list[str], folder: Path, where: str) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OSTINATO_", "COV_"))}
    environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + environ["PATH"]
    environ["PYTHONWARNINGS"] = "error::ResourceWarning"
    done = subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, f"{where} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def compare(wanted: str, got: str, where: str) -> None:
    same = doctest.OutputChecker().check_output(normal(wanted), normal(got), doctest.ELLIPSIS)
    assert same, f"{where} says it prints\n{wanted}\nbut it prints\n{got}"


def normal(text: str) -> str:
    """The text with all that differs from run to run made equal."""
    text = re.sub(r"\b[0-9A-HJKMNP-TV-Z]{26}\b", "ID", text)
    text = re.sub(r"\b[0-9a-f]{40,64}\b", "HASH", text)
    text = re.sub(r"\d+(\.\d+)?(ms|s|m\d+s|M|K)\b", "SOME", text)
    text = re.sub(r"\d+([.,:-]\d+)*", "N", text)
    return "\n".join(re.sub(r"[ \t]+", " ", line).rstrip() for line in text.strip().splitlines()) + "\n"
