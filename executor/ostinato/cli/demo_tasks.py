"""The task of ``ostinato demo``: read a Python file, count what it defines, compress and hash it."""

from __future__ import annotations

import ast
import hashlib
import lzma
import os
import warnings
from dataclasses import dataclass

from ostinato import task


@dataclass
class Digest:
    """What one job found out about its file."""

    path: str
    definitions: int
    size: int
    compressed: int
    sha256: str


@task
def digest(path: str) -> Digest:
    """Everything a job prints is in its log: ostinato logs ID."""
    with open(path, "rb") as file:
        source = file.read()
    found = Digest(
        path=path,
        definitions=_definitions(source, path),
        size=len(source),
        compressed=len(lzma.compress(source)),
        sha256=hashlib.sha256(source).hexdigest(),
    )
    share = found.compressed / max(found.size, 1)
    name = os.path.basename(path)
    print(f"{name}: {found.definitions} definitions, {found.size:,} bytes, compressed to {share:.0%}")
    return found


def _definitions(source: bytes, path: str) -> int:
    """How many functions and classes; 0 if it is not Python of this version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the file, not of ours
        try:
            tree = ast.parse(source, path)
        except (SyntaxError, ValueError) as error:
            print(f"{path} cannot be parsed: {error}")
            return 0
    return sum(isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) for node in ast.walk(tree))
