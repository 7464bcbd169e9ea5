"""Job and executor ids: ULIDs, 26 characters, sortable by the time they were made.

Format: https://github.com/ulid/spec (48 bits of milliseconds, 80 random bits, Crockford base 32).
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator
from itertools import count

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]

VALID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")


def new_ids(count: int) -> list[str]:
    """Ids that sort after those made in earlier milliseconds."""
    stamp = (time.time_ns() // 1_000_000) << 80
    noise = os.urandom(10 * count)
    return [_text(stamp | int.from_bytes(noise[at : at + 10], "big")) for at in range(0, 10 * count, 10)]


def new_id() -> str:
    return new_ids(1)[0]


def derived_id(of: str, key: str) -> str:
    """The id that belongs to a key, always the same: of the time of the id that it is derived ``of``, which
    may be "" (then of no time at all)."""
    noise = hashlib.sha256(f"{of}\0{key}".encode()).digest()[:10]
    return (of[:10] or "0" * 10) + _text(int.from_bytes(noise, "big"), _NOISE)


def numbered_ids(of: str, name: str) -> Iterator[tuple[str, str]]:
    """The keys ``name#1``, ``name#2`` and so on, each with the id that belongs to it, always the same."""
    for block in count():
        stem = derived_id(of, f"{name}#{block}")[: -len(_PAIRS[0])]
        for number, pair in enumerate(_PAIRS, block * len(_PAIRS) + 1):
            yield f"{name}#{number}", stem + pair


_WHOLE, _NOISE = range(120, -1, -10), range(70, -1, -10)


def _text(number: int, shifts: range = _WHOLE) -> str:
    pairs = _PAIRS
    return "".join([pairs[(number >> shift) & 1023] for shift in shifts])
