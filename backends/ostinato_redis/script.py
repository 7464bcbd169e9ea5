"""The Lua scripts, one a verb, put together from the parts that they name."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple, get_args

from ostinato.model import FINAL, State
from ostinato_redis.rows import FACTS, FIELDS

_PARTS = re.compile(r"-- parts: ([\w ]+)\n")


class Script(NamedTuple):
    text: str
    digest: str


def _read(path: str) -> str:
    return files("ostinato_redis").joinpath(f"scripts/{path}").read_text(encoding="utf-8")


def _list(names: tuple[str, ...]) -> str:
    return "{" + ", ".join(f"'{name}'" for name in names) + "}"


@lru_cache(maxsize=1)
def _known() -> str:
    """What the scripts need not work out at every call."""
    whole = tuple(dict.fromkeys((*FIELDS, *FACTS)))
    lists = {"ROW": FIELDS, "FACTS": FACTS, "WHOLE": whole, "STATES": get_args(State)}
    final = ", ".join(f"{state} = true" for state in sorted(FINAL))
    return "".join(f"local {name} = {_list(names)}\n" for name, names in lists.items()) + f"local FINAL = {{{final}}}\n"


@lru_cache(maxsize=64)
def script(verb: str) -> Script:
    """The script of a verb of the store."""
    body = _read(f"{verb}.lua")
    named = _PARTS.match(body)
    parts = ["begin", *(named[1].split() if named else ())]
    text = _known() + "\n".join([*(_read(f"parts/{part}.lua") for part in parts), body])
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
